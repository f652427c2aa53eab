// What xenstore says of domains, beside what their backends write: the entries that libxl writes for PV domains
// (tools/libs/light: libxl__domain_make, libxl__build_post, libxl__device_console_add, libxl__domain_rename), with its
// values and permissions, so that guests and tools find what they know.
//
//   /local/domain/N   what the guest reads, and the directories that are its own
//   /vm/UUID          name, uuid, what was started and when; the guest may read it
//   /libxl/N          the toolstack's own: type, and its copy of the backends' directories
//   /local/domain/0/backend/console/N/0
//
// Different from libxl: the guest owns device/vif and device/vbd, because nobody configures devices there; it may offer
// some. What libxl makes is read-only (XSA-57), as device and device/console are here.
//
// Requests are pipelined, without a transaction: that would cost a round trip for each domain, and its number would not
// survive the daemon, whose successor is asked again (XenstoreClient). The guest sees nothing before it is introduced;
// other clients that look meanwhile may see some of the entries. `domid` is written last: where it stands, all is
// there.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "domain/domain_record.h"
#include "toolstack/uuid.h"
#include "toolstack/xenstore_client.h"

namespace xenopolis::toolstack {

class DomainEntries {
 public:
  using Done = std::function<void(Status)>;

  explicit DomainEntries(XenstoreClient& xenstore) : xenstore_(xenstore) {}

  // Dom0's own (tools/helpers/xen-init-dom0.c). Once for each host; again does no harm.
  void write_dom0();

  // The domain's, in place of whatever stands there: before its consoles' and before it is introduced. Of the record
  // everything has to be filled in that is constant while the domain exists, and what the cell fills in.
  void write(const domain::DomainRecord& record);

  // Says again who the domain is, with whatever name and UUID it has by now: for one that another takes the place of
  // (libxl_domain_preserve), which keeps what stood under its UUID.
  void identify(const domain::DomainRecord& record, Done identified);
  // Changes the name everywhere.
  void rename(DomId domid, const Uuid& uuid, std::string_view name, Done renamed);

  // Takes everything away that stands in xenstore because of the domain; it has been released, and its consoles are
  // gone. Calls back when nothing is left.
  void remove(DomId domid, const Uuid& uuid, Done removed);

 private:
  void make_guests_own(DomId domid);
  void write_home(const domain::DomainRecord& record, const std::string& vm);
  void write_vm(const domain::DomainRecord& record, const std::string& vm);
  void write_first_console(DomId domid);
  void make(const std::string& path, const std::vector<std::string>& permissions);

  XenstoreClient& xenstore_;
};

Uuid uuid_of(const domain::DomainRecord& record);

}  // namespace xenopolis::toolstack
