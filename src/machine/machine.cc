#include "machine/machine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "machine/message_ring.h"
#include "machine/trace_ring.h"

namespace xenopolis::machine {
namespace {

constexpr uint64_t kMagic = 0x534c4f504f4e4558;  // "XENOPOLS"
constexpr uint64_t kVersion = 2;  // another with each change of what lies in the machine

static_assert(sizeof(Header) <= kDoorbellOffset);

Status map(int memfd, uint64_t size) {
  void* address = mmap(reinterpret_cast<void*>(kMachineBase), size, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_FIXED_NOREPLACE | MAP_NORESERVE, memfd, 0);
  if (address == MAP_FAILED)
    return fail_errno(fmt::format("mapping the machine ({} GiB) at {:#x}", size / kGiB, kMachineBase));
  if (address != reinterpret_cast<void*>(kMachineBase)) {
    munmap(address, size);
    return fail(EEXIST,
                fmt::format("mapping the machine at {:#x}: this kernel ignores MAP_FIXED_NOREPLACE", kMachineBase));
  }
  // A core dump of a terabyte helps nobody.
  madvise(address, size, MADV_DONTDUMP);
  return {};
}

// From here on the machine is mapped: what is logged lands there.
void keep_messages(const log::Entry& entry) {
  Message message;
  message.source = entry.is_guests ? MessageSource::kGuest : MessageSource::kHost;
  message.level = entry.level;
  message.time_ns = entry.time_ns;
  message.pid = getpid();
  if (entry.domid) message.domid = static_cast<DomId>(*entry.domid);
  message.origin = entry.origin;
  message.text = entry.text;
  append_message(message);
}

constexpr uint32_t kBits = 64;

// Calls `body` with each word of `bits` that has bits of the run, and the mask of those.
template <class Body>
void for_each_word(std::vector<uint64_t>& bits, const ChunkRun& run, Body&& body) {
  for (uint32_t at = run.first, end = run.first + run.count; at < end;) {
    const uint32_t count = std::min(kBits - at % kBits, end - at);
    body(bits.at(at / kBits), (count == kBits ? ~0ull : (1ull << count) - 1) << at % kBits);
    at += count;
  }
}

// The chunks in which the extent has pages: less than it was given, perhaps.
ChunkRun touched_chunks(const Extent& extent) {
  return {chunks_of(extent).first, static_cast<uint32_t>((extent.size() + kChunkSize - 1) / kChunkSize)};
}

// Keeps the range free of other mappings, without access.
Status reserve(uint64_t address, uint64_t size) {
  if (mmap(reinterpret_cast<void*>(address), size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE,
           -1, 0) == MAP_FAILED) {
    return fail_errno("reserving the machine's address range");
  }
  return {};
}

}  // namespace

Machine::Machine(Fd memfd, std::vector<Fd> eventfds)
    : memfd_(std::move(memfd)),
      eventfds_(std::move(eventfds)),
      raw_eventfds_([this] {
        std::vector<int> raw;
        for (const Fd& fd : eventfds_) raw.push_back(fd.get());
        return raw;
      }()),
      frames_(header().pages, header().extents, memfd_.get()),
      doorbells_(raw_eventfds_) {
  log::set_listener(keep_messages);
}

Machine::Machine(Machine&& other) noexcept
    : memfd_(std::move(other.memfd_)),
      eventfds_(std::move(other.eventfds_)),
      raw_eventfds_(std::move(other.raw_eventfds_)),
      frames_(header().pages, header().extents, memfd_.get()),
      doorbells_(raw_eventfds_),
      reached_(std::move(other.reached_)) {}

Machine::~Machine() {
  if (!memfd_) return;
  log::set_listener(nullptr);
  munmap(reinterpret_cast<void*>(kMachineBase), header().size);
}

Result<Machine> Machine::create(uint64_t size) {
  if (size < kMinMachineSize || size > kMaxMachineSize || size % kChunkSize != 0) {
    return fail(EINVAL, fmt::format("a machine of {} bytes", size));
  }
  Fd memfd(memfd_create("xenopolis-machine", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!memfd) return fail_errno("memfd_create");
  if (ftruncate(memfd.get(), static_cast<off_t>(size)) != 0) return fail_errno("sizing the machine's memfd");
  // Whoever has a descriptor could make it shorter, which is SIGBUS for everybody.
  if (fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
    return fail_errno("sealing the machine's memfd");
  }
  std::vector<Fd> eventfds;
  for (VcpuId vcpu = 0; vcpu < kDom0VcpuCount; ++vcpu) {
    eventfds.emplace_back(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!eventfds.back()) return fail_errno("eventfd");
  }
  TRY_VOID(map(memfd.get(), size));
  Header& head = header();
  head.magic = kMagic;
  head.version = kVersion;
  head.size = size;
  Frames::format(head.pages, head.extents, size);
  format_traces();
  return Machine(std::move(memfd), std::move(eventfds));
}

Result<Machine> Machine::attach(Fd memfd, std::vector<Fd> dom0_eventfds, Reach reach) {
  if (dom0_eventfds.size() != kDom0VcpuCount) {
    return fail(EINVAL, fmt::format("a machine has {} Dom0 doorbells, not {}", kDom0VcpuCount, dom0_eventfds.size()));
  }
  struct stat status {};
  if (fstat(memfd.get(), &status) != 0) return fail_errno("the machine's memfd");
  const auto size = static_cast<uint64_t>(status.st_size);
  if (size < kMinMachineSize || size > kMaxMachineSize) return fail(EINVAL, "not a machine: wrong size");
  TRY_VOID(map(memfd.get(), size));
  if (header().magic != kMagic || header().version != kVersion || header().size != size) {
    munmap(reinterpret_cast<void*>(kMachineBase), size);
    return fail(EINVAL, "not a machine of this version");
  }
  Machine machine(std::move(memfd), std::move(dom0_eventfds));
  if (reach == Reach::kOnDemand) {
    const uint64_t extents_size = size - kExtentZoneOffset;
    TRY_VOID(reserve(kMachineBase + kExtentZoneOffset, extents_size));
    machine.reached_.resize((extents_size / kChunkSize + kBits - 1) / kBits);
  }
  return machine;
}

Status Machine::map_extent(const Extent& extent) {
  if (!extent) return {};  // Dom0 has none
  const ChunkRun run = touched_chunks(extent);
  bool is_mapped = true;
  for_each_word(reached_, run, [&](uint64_t word, uint64_t mask) { is_mapped &= (word & mask) == mask; });
  if (is_mapped) return {};
  const uint64_t size = run.count * kChunkSize;
  if (mmap(extent.begin(), size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, memfd_.get(),
           static_cast<off_t>(extent.first << kPageShift)) == MAP_FAILED) {
    return fail_errno(fmt::format("mapping {} KiB of guest memory", size / kKiB));
  }
  madvise(extent.begin(), size, MADV_DONTDUMP);
  for_each_word(reached_, run, [](uint64_t& word, uint64_t mask) { word |= mask; });
  return {};
}

void Machine::release(const Extent& extent) {
  if (reached_.empty() || !extent) return;
  const ChunkRun run = touched_chunks(extent);
  if (!reserve(reinterpret_cast<uint64_t>(extent.begin()), run.count * kChunkSize)) return;
  for_each_word(reached_, run, [](uint64_t& word, uint64_t mask) { word &= ~mask; });
}

std::span<uint8_t> Machine::memory() const {
  return {reinterpret_cast<uint8_t*>(kMachineBase), header().size};
}

std::vector<int> Machine::fds() const {
  std::vector<int> all{memfd_.get()};
  all.insert(all.end(), raw_eventfds_.begin(), raw_eventfds_.end());
  return all;
}

uint64_t Machine::resident_bytes() const {
  struct stat status {};
  return fstat(memfd_.get(), &status) == 0 ? static_cast<uint64_t>(status.st_blocks) * 512 : 0;
}

}  // namespace xenopolis::machine
