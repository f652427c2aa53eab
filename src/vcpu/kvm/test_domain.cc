#include "vcpu/kvm/test_domain.h"

#include <cstring>

#include "vcpu/kvm/cpu_bits.h"

namespace xenopolis::vcpu::kvm {
namespace {

constexpr uint64_t kEntryFlags = kPtePresent | kPteWritable | kPteUser | kPteAccessed | kPteDirty;

// One per process, because a machine's address is fixed.
machine::Machine& the_machine() {
  static auto machine = machine::Machine::create();
  EXPECT_TRUE(machine) << machine.error().message();
  return *machine;
}

Backend* the_backend(std::string* why = nullptr) {
  static auto backend = create_kvm_backend();
  if (!backend && why != nullptr) *why = backend.error().message();
  return backend ? backend->get() : nullptr;
}

}  // namespace

std::optional<std::string> why_no_kvm() {
  std::string why;
  if (the_backend(&why) == nullptr) return why;
  return std::nullopt;
}

Code& Code::bytes(std::initializer_list<int> values) {
  for (int value : values) bytes_.push_back(static_cast<uint8_t>(value));
  return *this;
}
Code& Code::word32(uint64_t value) {
  for (int shift = 0; shift < 32; shift += 8) bytes_.push_back(static_cast<uint8_t>(value >> shift));
  return *this;
}
Code& Code::word64(uint64_t value) {
  return word32(value).word32(value >> 32);
}

Code& Code::hypercall(unsigned number) {
  // mov $entry,%rdx; call *%rdx
  return bytes({0x48, 0xba}).word64(TestDomain::address(TestDomain::kHypercallPage) + number * 32).bytes({0xff, 0xd2});
}

TestDomain::TestDomain() {
  const domain::MemoryLayout layout{kRamPages};
  auto extent = the_machine().frames().allocate_extent(layout.total_pages());
  EXPECT_TRUE(extent);
  memory = {*extent, kRamPages};
  const auto link = [&](Gfn table, unsigned index, Gfn target) {
    words(table)[index] = target << kPageShift | kEntryFlags;
  };
  link(kL4, index_of(kBase, 4), kL3);
  link(kL3, index_of(kBase, 3), kL2);
  for (unsigned half = 0; half < 2; ++half) {
    link(kL2, index_of(kBase, 2) + half, kL1 + half);
    for (unsigned i = 0; i < kEntriesPerTable; ++i) link(kL1 + half, i, half * kEntriesPerTable + i);
  }
}

TestDomain::~TestDomain() {
  vcpu.reset();
  the_machine().frames().free_extent(memory.extent);
}

void TestDomain::place(Gfn gfn, const Code& code) {
  memcpy(memory.page(gfn), code.get().data(), code.get().size());
}

void TestDomain::start(const Code& code) {
  place(kCode, code);
  builder::BuiltDomain built;
  built.virtual_base = kBase;
  built.entry = address(kCode);
  built.start_info = 0x1234;
  built.stack = address(kStackTop);
  built.page_table_base = kL4 << kPageShift;
  built.hypercall_page = address(kHypercallPage);
  auto created = the_backend()->create_vcpu(state, memory, built);
  ASSERT_TRUE(created) << created.error().message();
  vcpu = *std::move(created);
}

Exit TestDomain::run() {
  for (;;) {
    Exit exit = vcpu->run(state);
    if (exit.reason != ExitReason::kInterrupted) return exit;
  }
}

}  // namespace xenopolis::vcpu::kvm
