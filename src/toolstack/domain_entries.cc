#include "toolstack/domain_entries.h"

#include <fmt/format.h>

#include <algorithm>

namespace xenopolis::toolstack {
namespace {

// LIBXL_XENCONSOLE_PROTOCOL of libxl_internal.h.
constexpr std::string_view kConsoleProtocol = "vt100";

std::string home_of(DomId domid) {
  return fmt::format("/local/domain/{}", domid);
}
std::string vm_of(const Uuid& uuid) {
  return "/vm/" + to_text(uuid);
}
std::string libxl_of(DomId domid) {
  return fmt::format("/libxl/{}", domid);
}
std::string console_backends_of(DomId domid) {
  return fmt::format("/local/domain/0/backend/console/{}", domid);
}

std::vector<std::string> guest_reads(DomId domid) {
  return {"n0", fmt::format("r{}", domid)};
}
std::vector<std::string> guest_owns(DomId domid) {
  return {fmt::format("n{}", domid)};
}

}  // namespace

Uuid uuid_of(const domain::DomainRecord& record) {
  Uuid uuid;
  std::copy(std::begin(record.configuration.uuid), std::end(record.configuration.uuid), uuid.begin());
  return uuid;
}

void DomainEntries::make(const std::string& path, const std::vector<std::string>& permissions) {
  xenstore_.write(path, "");
  xenstore_.set_permissions(path, permissions);
}

void DomainEntries::write_dom0() {
  xenstore_.write(home_of(kDom0) + "/domid", "0");
  xenstore_.write(home_of(kDom0) + "/name", "Domain-0");
}

void DomainEntries::write(const domain::DomainRecord& record) {
  const DomId domid = record.domid;
  const std::string vm = vm_of(uuid_of(record));
  const std::string libxl = libxl_of(domid);
  xenstore_.remove(home_of(domid));
  xenstore_.remove(vm);
  xenstore_.remove(libxl);
  make_guests_own(domid);
  make(vm, guest_reads(domid));
  write_vm(record, vm);
  xenstore_.write(libxl + "/type", "pv");
  // What libxl writes for every domain, also when it has no device model.
  xenstore_.write(libxl + "/dm-version", "qemu_xen");
  write_first_console(domid);
  write_home(record, vm);
}

// A node begins with its parent's rights. So all of this is made in a home that is the guest's own, and what is not for
// the guest to change becomes Dom0's afterwards: half as many requests as saying of each node whose it is.
void DomainEntries::make_guests_own(DomId domid) {
  const std::string home = home_of(domid);
  make(home, guest_owns(domid));
  for (const char* node : {"/device/suspend/event-channel", "/device/vif", "/device/vbd", "/control/shutdown",
                           "/control/feature-poweroff", "/control/feature-reboot", "/control/feature-suspend",
                           "/control/sysrq", "/data", "/drivers", "/feature", "/attr", "/error"}) {
    xenstore_.write(home + node, "");
  }
  const std::vector<std::string> read_only = guest_reads(domid);
  for (const char* node : {"", "/device", "/device/suspend", "/control"}) {
    xenstore_.set_permissions(home + node, read_only);
  }
}

// What is not made here explicitly comes with the first entry in it, and with its parent's rights.
void DomainEntries::write_home(const domain::DomainRecord& record, const std::string& vm) {
  const DomId domid = record.domid;
  const std::string home = home_of(domid);
  const std::string memory_kib = fmt::to_string(record.ram_pages * (kPageSize / 1024));
  xenstore_.write(home + "/vm", vm);
  xenstore_.write(home + "/name", record.name);
  xenstore_.write(home + "/control/platform-feature-multiprocessor-suspend", "1");
  xenstore_.write(home + "/control/platform-feature-xs_reset_watches", "1");
  xenstore_.write(home + "/memory/static-max", memory_kib);
  xenstore_.write(home + "/memory/target", memory_kib);
  // libxl counts video memory that PV domains do not have as -1 KiB, and the target 1 KiB higher for it.
  xenstore_.write(home + "/memory/videoram", "0");
  xenstore_.write(home + "/store/port", fmt::to_string(record.store_port));
  xenstore_.write(home + "/store/ring-ref", fmt::to_string(record.store_gfn));
  xenstore_.write(home + "/cpu/0/availability", "online");
  xenstore_.write(home + "/domid", fmt::to_string(domid));
}

void DomainEntries::write_vm(const domain::DomainRecord& record, const std::string& vm) {
  xenstore_.write(vm + "/uuid", to_text(uuid_of(record)));
  xenstore_.write(vm + "/name", record.name);
  xenstore_.write(vm + "/image/ostype", "linux");
  xenstore_.write(vm + "/image/kernel", record.configuration.image);
  if (record.configuration.ramdisk[0] != '\0') xenstore_.write(vm + "/image/ramdisk", record.configuration.ramdisk);
  if (record.command_line[0] != '\0') xenstore_.write(vm + "/image/cmdline", record.command_line);
  xenstore_.write(vm + "/start_time", fmt::format("{}.00", record.started_s));  // hundredths
}

// Its backend's directory is there as for every device, though nobody follows its state: the console works from the
// first instruction on. What its own directory says of ring and terminal is DomainConsoles' part.
void DomainEntries::write_first_console(DomId domid) {
  const std::string frontend = home_of(domid) + "/console";
  const std::string backend = console_backends_of(domid) + "/0";
  const std::string copy = libxl_of(domid) + "/device/console/0";
  xenstore_.write(copy + "/frontend", frontend);
  xenstore_.write(copy + "/backend", backend);
  make(backend, guest_reads(domid));
  xenstore_.write(backend + "/frontend", frontend);
  const std::string initialising = fmt::to_string(static_cast<int>(XenbusStateInitialising));
  for (const std::string& directory : {backend, copy}) {
    xenstore_.write(directory + "/frontend-id", fmt::to_string(domid));
    xenstore_.write(directory + "/online", "1");
    xenstore_.write(directory + "/state", initialising);
    xenstore_.write(directory + "/protocol", kConsoleProtocol);
  }
  xenstore_.write(frontend + "/backend", backend);
  xenstore_.write(frontend + "/backend-id", "0");
  xenstore_.set_permissions(frontend + "/backend-id", {fmt::format("n{}", domid), "r0"});
}

void DomainEntries::identify(const domain::DomainRecord& record, Done identified) {
  const std::string vm = vm_of(uuid_of(record));
  make(vm, guest_reads(record.domid));
  xenstore_.write(home_of(record.domid) + "/vm", vm);
  xenstore_.write(vm + "/uuid", to_text(uuid_of(record)));
  rename(record.domid, uuid_of(record), record.name, std::move(identified));
}

void DomainEntries::rename(DomId domid, const Uuid& uuid, std::string_view name, Done renamed) {
  xenstore_.write(home_of(domid) + "/name", name);
  xenstore_.write(vm_of(uuid) + "/name", name, [renamed = std::move(renamed)](const Result<std::string>& answer) {
    renamed(answer ? Status{} : Status(tl::make_unexpected(answer.error())));
  });
}

void DomainEntries::remove(DomId domid, const Uuid& uuid, Done removed) {
  // What is not there any more needs no removal (ENOENT): only a daemon that does not come back is an error.
  xenstore_.remove(console_backends_of(domid));
  xenstore_.remove(vm_of(uuid));
  xenstore_.remove(home_of(domid));
  xenstore_.remove(libxl_of(domid), [removed = std::move(removed)](const Result<std::string>& answer) {
    const bool is_gone = answer || answer.error().code == ENOENT;
    removed(is_gone ? Status{} : Status(tl::make_unexpected(answer.error())));
  });
}

}  // namespace xenopolis::toolstack
