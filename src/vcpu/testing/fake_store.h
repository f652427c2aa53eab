// As much of a xenstore daemon as a guest in a test needs: one flat map per domain over the real ring protocol
// (<xen/io/xs_wire.h>). No permissions, no errors but ENOENT, transactions that always succeed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "xen_abi/xen.h"

namespace xenopolis::vcpu::testing {

class FakeStore {
 public:
  explicit FakeStore(xenstore_domain_interface* ring) : ring_(ring) {}

  // Takes requests and puts answers as far as there is room. True: the guest must be notified.
  bool serve();
  // As another client would: fires watches.
  void write(const std::string& path, const std::string& value);
  std::string read(const std::string& path) const;

 private:
  struct Watch {
    std::string path;
    std::string token;
  };

  bool receive();
  bool transmit();
  void execute(const xsd_sockmsg& request, const std::string& payload);
  void answer(const xsd_sockmsg& request, const std::string& payload);
  void refuse(const xsd_sockmsg& request, const char* error);
  void fire(const Watch& watch, const std::string& path);
  std::string directory(const std::string& path) const;

  xenstore_domain_interface* ring_;
  std::map<std::string, std::string> nodes_;
  std::vector<Watch> watches_;
  std::string input_;
  std::string output_;
};

}  // namespace xenopolis::vcpu::testing
