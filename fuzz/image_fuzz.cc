// Any file as a kernel image: parsed, and if that works, built into a small domain for both backends.
//
// An input that starts with 0 is a list of changes to a good image (offset: 2 bytes, value: 1 byte), so that the fuzzer
// gets behind the first checks without a corpus; any other is the file itself.
#include <cstring>

#include "builder/builder.h"
#include "builder/test_image.h"
#include "machine/machine.h"

namespace xenopolis {
namespace {

constexpr uint64_t kRamPages = 64;
constexpr uint64_t kExtentPages = kRamPages + 1;  // the page behind the RAM shows what is written beyond it

struct Domain {
  machine::Machine machine = machine::Machine::create(machine::kMinMachineSize + machine::kGiB).value();
  machine::DomainMemory memory{machine.frames().allocate_extent(kExtentPages).value(), kRamPages};
};

Domain& domain() {
  static Domain instance;
  return instance;
}

bool is_zero(const uint8_t* page) {
  return page[0] == 0 && std::memcmp(page, page + 1, kPageSize - 1) == 0;
}

// What the builder says about the start must lie in the domain.
void check(const builder::BuiltDomain& built) {
  const uint64_t ram = kRamPages * kPageSize;
  const bool sound = built.entry - built.virtual_base < ram && built.start_info - built.virtual_base < ram &&
                     built.stack - built.virtual_base <= ram && built.store_gfn < kRamPages &&
                     built.console_gfn < kRamPages && built.page_table_base < ram &&
                     is_zero(domain().memory.page(kRamPages));
  if (!sound) __builtin_trap();
}

void build_and_clear(const builder::Image& image, bool flat) {
  machine::DomainMemory& memory = domain().memory;
  builder::BuildConfig config;
  config.command_line = "fuzz";
  config.flat = flat;
  static const std::vector<uint8_t> ramdisk(3 * kPageSize, 1);
  config.ramdisk = ramdisk;
  if (flat) config.flat_base = reinterpret_cast<uint64_t>(memory.extent.begin());
  const auto built = builder::build(image, memory, kRamPages, config);
  if (!built) return;
  check(*built);
  for (Gfn gfn = 0; gfn < kRamPages; ++gfn) {
    if (!is_zero(memory.page(gfn))) std::memset(memory.page(gfn), 0, kPageSize);
  }
}

std::vector<uint8_t> changed_image(const uint8_t* changes, size_t size) {
  builder::TestImage image;
  if (size % 3 != 0) image.resemble_linux();
  std::vector<uint8_t> bytes = image.bytes();
  for (; size >= 3; changes += 3, size -= 3) {
    bytes[(changes[0] | changes[1] << 8) % bytes.size()] = changes[2];
  }
  return bytes;
}

}  // namespace
}  // namespace xenopolis

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace xenopolis;
  auto bytes = size > 0 && data[0] == 0 ? changed_image(data + 1, size - 1) : std::vector<uint8_t>(data, data + size);
  const auto image = builder::parse_image("fuzz", std::make_shared<const std::vector<uint8_t>>(std::move(bytes)));
  if (!image) return 0;
  build_and_clear(*image, false);
  build_and_clear(*image, true);
  return 0;
}
