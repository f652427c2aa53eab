#include "vcpu/boot.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>

#include <cstring>

#include "base/file.h"
#include "builder/builder.h"
#include "domain/memory_layout.h"
#include "hypercall/bounce.h"
#include "hypercall/time.h"

namespace xenopolis::vcpu {
namespace {

// The text of a fixed field that another process has filled.
template <size_t kSize>
std::string text_of(const char (&field)[kSize]) {
  return std::string(field, strnlen(field, kSize));
}

uint64_t time_of_day_at_system_time_0() {
  timespec day{}, system{};
  clock_gettime(CLOCK_REALTIME, &day);
  clock_gettime(CLOCK_MONOTONIC, &system);
  return static_cast<uint64_t>((day.tv_sec - system.tv_sec) * 1'000'000'000 + day.tv_nsec - system.tv_nsec);
}

// Whatever is bigger than the domain's memory cannot be built.
Result<std::vector<uint8_t>> read_ramdisk(const domain::DomainRecord& record, int fd) {
  if (fd < 0) return std::vector<uint8_t>();
  return read_file(fd, text_of(record.configuration.ramdisk), "ramdisk of this domain", record.ram_pages * kPageSize);
}

// The domain's memory is mapped.
Result<Booted> boot_reached(const Hypervisor& hypervisor, Backend& backend, const builder::Image& image, DomId domid,
                            int ramdisk_fd) {
  domain::DomainRecord& record = domain::record_of(domid);
  const machine::DomainMemory& memory = machine::memory_of(domid);
  const domain::MemoryLayout layout{record.ram_pages};
  builder::BuildConfig config;
  config.command_line = text_of(record.command_line);
  config.store_port = record.store_port;
  config.console_port = record.console_port;
  config.flat = backend.flat();
  config.flat_base = reinterpret_cast<uint64_t>(memory.extent.begin());
  const std::vector<uint8_t> ramdisk = TRY(read_ramdisk(record, ramdisk_fd));
  config.ramdisk = ramdisk;
  const builder::BuiltDomain built = TRY(builder::build(image, memory, layout.shared_info(), config));

  // A PV guest starts with upcalls masked on each vCPU (libxc, xg_dom_boot).
  auto& shared = *reinterpret_cast<shared_info*>(memory.page(layout.shared_info()));
  for (vcpu_info& info : shared.vcpu_info) hypercall::set_upcalls_masked(info, true);
  hypercall::update_wall_clock(shared, time_of_day_at_system_time_0());

  auto state = std::make_unique<domain::PvVcpu>();
  state->domid = domid;
  auto vcpu = TRY(backend.create_vcpu(*state, memory, built));
  record.store_gfn = built.store_gfn;
  record.console_gfn = built.console_gfn;
  record.built_ns.store(hypervisor.clock.now_ns());
  return Booted{std::make_unique<CellDomain>(hypervisor, std::move(state), std::move(vcpu)), built.store_gfn,
                built.console_gfn};
}

}  // namespace

Result<std::shared_ptr<const builder::Image>> ImageCache::load(int fd, const std::string& name) {
  struct stat status {};
  if (stat_descriptor(fd, status) != 0) return fail_errno(fmt::format("looking at kernel image {}", name));
  const Identity identity{status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size), status.st_mtim.tv_sec,
                          status.st_mtim.tv_nsec};
  if (const auto found = images_.find(identity); found != images_.end()) return found->second;
  auto image = std::make_shared<const builder::Image>(TRY(builder::load_image(fd, name)));
  // What a file was before it changed is never asked for again.
  std::erase_if(images_, [&](const auto& entry) {
    return entry.first.device == identity.device && entry.first.inode == identity.inode;
  });
  if (images_.size() >= kMaxImages) images_.erase(images_.begin());
  images_.emplace(identity, image);
  return image;
}

Result<Booted> boot(const Hypervisor& hypervisor, Backend& backend, const builder::Image& image, DomId domid,
                    int ramdisk_fd) {
  const domain::DomainRecord& record = domain::record_of(domid);
  const machine::DomainMemory& memory = machine::memory_of(domid);
  const domain::MemoryLayout layout{record.ram_pages};
  if (!memory.extent || memory.extent.pages < layout.total_pages() || memory.ram_pages != record.ram_pages) {
    return fail(EINVAL, fmt::format("domain {} has {} pages of memory, not {}", domid, memory.extent.pages,
                                    layout.total_pages()));
  }
  TRY_VOID(hypervisor.machine.reach(memory.extent));
  Result<Booted> booted = boot_reached(hypervisor, backend, image, domid, ramdisk_fd);
  if (!booted) hypervisor.machine.release(memory.extent);
  return booted;
}

}  // namespace xenopolis::vcpu
