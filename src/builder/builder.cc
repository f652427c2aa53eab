#include "builder/builder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "builder/page_tables.h"

namespace xenopolis::builder {
namespace {

// <xen/xen.h>, "Start-of-day memory layout", rules 2 and 7.
constexpr uint64_t kRegionAlignment = 4 * machine::kMiB;
constexpr uint64_t kPadding = 512 * machine::kKiB;
// What Xen calls the 64-bit PV ABI in start_info.
constexpr char kMagic[] = "xen-3.0-x86_64";
static_assert(sizeof kMagic <= sizeof start_info::magic);

constexpr uint64_t pages_of(uint64_t bytes) {
  return bytes / kPageSize + (bytes % kPageSize != 0);
}

// Frames of the bootstrap elements, in the order of rule 3. The ramdisk and the frame list (p2m) lie behind the initial
// mapping where the kernel can do without them in it, as Xen's builder has them (tools/libs/guest/xg_dom_core.c): it is
// smaller then, and its size does not depend on theirs.
struct Layout {
  Gfn ramdisk = 0;
  bool ramdisk_is_mapped = true;
  Gfn p2m = 0;
  uint64_t p2m_pages = 0;
  uint64_t p2m_address = 0;      // 0: within the initial mapping
  uint64_t p2m_table_pages = 0;  // behind the p2m: the tables that map it at p2m_address, less the L4 table
  Gfn start_info = 0;
  Gfn store = 0;
  Gfn console = 0;
  Gfn page_tables = 0;
  uint64_t page_table_pages = 0;
  Gfn stack = 0;
  uint64_t mapped_pages = 0;   // of the initial mapping, from guest-physical 0
  uint64_t outside_pages = 0;  // behind it

  uint64_t used_pages() const { return stack + 1 + outside_pages; }
};

// The end of the initial mapping, in pages from its base: rules 2 and 7, but never more than `limit`.
uint64_t mapped_pages_for(uint64_t used_pages, uint64_t virtual_base, uint64_t limit) {
  const uint64_t bytes = used_pages * kPageSize + kPadding;
  const uint64_t beyond = (virtual_base + bytes) % kRegionAlignment;
  const uint64_t aligned = bytes + (beyond == 0 ? 0 : kRegionAlignment - beyond);
  return std::min(aligned / kPageSize, limit);
}

// Where the kernel wants its frame list, if it can be there: below VIRT_BASE, as Xen wants it, and in L4 entries of its
// own. 0: in the initial mapping, where start_info says so.
uint64_t p2m_address_for(const Image& image, uint64_t p2m_pages) {
  const uint64_t address = image.frame_list.value_or(0);
  const uint64_t size = p2m_pages * kPageSize;
  if (address == 0 || address % kPageSize != 0 || !is_guest_range(address, size)) return 0;
  return (address + size - 1) / kL4EntrySize < image.virtual_base / kL4EntrySize ? address : 0;
}

// Page tables, stack and end of the initial mapping, which has at most `limit` pages.
void map_initially(Layout& layout, uint64_t virtual_base, uint64_t limit) {
  // More tables push the end further, which may take more tables. Each turn adds one at least, and the count is bounded
  // by what maps all RAM; in practice two turns do.
  for (;;) {
    layout.mapped_pages = mapped_pages_for(layout.stack + 1, virtual_base, limit);
    if (!is_guest_range(virtual_base, layout.mapped_pages * kPageSize)) return;  // check_layout refuses it
    const uint64_t tables = page_table_pages({virtual_base, layout.mapped_pages});
    if (tables <= layout.page_table_pages) return;
    layout.page_table_pages = tables;
    layout.stack = layout.page_tables + tables;
  }
}

// Needs image and ramdisk to fit into RAM, so that sums of page counts stay small.
Layout lay_out(const Image& image, uint64_t ram_pages, const BuildConfig& config) {
  Layout layout;
  const uint64_t ramdisk_pages = pages_of(config.ramdisk.size());
  if (!config.flat) {
    // Without page tables of its own a guest has no machine frame numbers to look up.
    layout.p2m_pages = pages_of(ram_pages * sizeof(xen_pfn_t));
    layout.p2m_address = p2m_address_for(image, layout.p2m_pages);
    if (layout.p2m_address != 0) {
      layout.p2m_table_pages = page_table_pages({layout.p2m_address, layout.p2m_pages}) - 1;
      layout.outside_pages += layout.p2m_pages + layout.p2m_table_pages;
    }
    layout.ramdisk_is_mapped = !image.ramdisk_by_frame;
    if (!layout.ramdisk_is_mapped) layout.outside_pages += ramdisk_pages;
  }
  layout.ramdisk = pages_of(image.end);
  layout.p2m = layout.ramdisk + (layout.ramdisk_is_mapped ? ramdisk_pages : 0);
  layout.start_info = layout.p2m + (layout.p2m_address == 0 ? layout.p2m_pages : 0);
  layout.store = layout.start_info + 1;
  layout.console = layout.store + 1;
  layout.page_tables = layout.console + 1;
  layout.stack = layout.page_tables;
  layout.mapped_pages = ram_pages;
  if (config.flat) return layout;
  // At least 1: check_layout refuses what does not fit.
  map_initially(layout, image.virtual_base, ram_pages - std::min(layout.outside_pages, ram_pages - 1));
  Gfn next = layout.mapped_pages;
  if (!layout.ramdisk_is_mapped) layout.ramdisk = std::exchange(next, next + ramdisk_pages);
  if (layout.p2m_address != 0) layout.p2m = next;
  return layout;
}

// At least one MiB more than `pages` take, as a toolstack's `memory=` counts.
uint64_t mib_for(uint64_t pages) {
  return pages_of(pages * kPageSize) * kPageSize / machine::kMiB + 1;
}

tl::unexpected<Error> too_big(const Image& image, uint64_t ram_pages, const BuildConfig& config,
                              uint64_t needed_pages) {
  return fail(EFBIG,
              fmt::format("{}: does not fit into {} KiB of memory: it needs {} KiB (image {} KiB, ramdisk {} KiB, "
                          "start_info, rings, page tables and stack); give the domain {} MiB or more",
                          image.path, ram_pages * 4, needed_pages * 4, pages_of(image.end) * 4,
                          pages_of(config.ramdisk.size()) * 4, mib_for(needed_pages)));
}

Status check_config(const Image& image, const machine::DomainMemory& memory, const BuildConfig& config) {
  CHECK(memory.ram_pages <= memory.extent.pages);
  if (config.command_line.size() >= MAX_GUEST_CMDLINE) {
    return fail(EFBIG, fmt::format("{}: a command line of {} bytes; start_info holds {}", image.path,
                                   config.command_line.size(), MAX_GUEST_CMDLINE - 1));
  }
  // It would be cut short in the guest without a word.
  if (config.command_line.find('\0') != std::string::npos) {
    return fail(EINVAL, fmt::format("{}: the command line contains a NUL byte", image.path));
  }
  if (config.flat && !image.position_independent) {
    return fail(ENOTSUP, fmt::format("{}: the hosted backend needs a position-independent image (ELF type ET_DYN whose "
                                     "relocations are all R_X86_64_RELATIVE), because there domains share one address "
                                     "space; this one needs the kvm backend",
                                     image.path));
  }
  return {};
}

Result<Layout> check_layout(const Image& image, uint64_t ram_pages, const BuildConfig& config) {
  const uint64_t image_pages = pages_of(image.end);
  const uint64_t ramdisk_pages = pages_of(config.ramdisk.size());
  if (image_pages > ram_pages || ramdisk_pages > ram_pages - image_pages) {
    // With room for what follows them, so that the advice is enough. (A size beyond any machine is not worth the sum.)
    const uint64_t contents = image_pages + ramdisk_pages;
    const bool sensible = contents < machine::kMaxMachineSize / kPageSize;
    return too_big(image, ram_pages, config,
                   sensible ? lay_out(image, contents + contents / 64, config).used_pages() : contents);
  }
  const Layout layout = lay_out(image, ram_pages, config);
  if (layout.used_pages() > ram_pages) return too_big(image, ram_pages, config, layout.used_pages());
  if (!config.flat && !is_guest_range(image.virtual_base, layout.mapped_pages * kPageSize)) {
    return fail(ENOTSUP,
                fmt::format("{}: {} KiB from {:#x} on reach into addresses that no guest may have; a kernel at "
                            "this VIRT_BASE needs less memory or a smaller ramdisk",
                            image.path, layout.mapped_pages * 4, image.virtual_base));
  }
  return layout;
}

// Pages that stay zero are not touched: they cost no memory until the guest writes to them.
void copy_to_guest(const machine::DomainMemory& memory, uint64_t physical, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const uint64_t offset = physical % kPageSize;
    const uint64_t size = std::min<uint64_t>(bytes.size(), kPageSize - offset);
    const auto part = bytes.first(size);
    if (std::any_of(part.begin(), part.end(), [](uint8_t byte) { return byte != 0; })) {
      uint8_t* page = memory.ram_page(physical >> kPageShift);
      CHECK(page != nullptr);
      std::memcpy(page + offset, part.data(), size);
    }
    physical += size;
    bytes = bytes.subspan(size);
  }
}

// Machine frame of each frame: the same number, see machine/domain_memory.h.
void write_p2m(const machine::DomainMemory& memory, const Layout& layout) {
  constexpr uint64_t kPerPage = kPageSize / sizeof(xen_pfn_t);
  for (uint64_t i = 0; i < layout.p2m_pages; ++i) {
    auto* entries = reinterpret_cast<xen_pfn_t*>(memory.ram_page(layout.p2m + i));
    const uint64_t first = i * kPerPage;
    const uint64_t count = std::min(kPerPage, memory.ram_pages - first);
    for (uint64_t j = 0; j < count; ++j) entries[j] = first + j;
  }
}

void write_start_info(const machine::DomainMemory& memory, const Layout& layout, uint64_t virtual_base,
                      Gfn shared_info_gfn, const BuildConfig& config) {
  const auto address = [&](Gfn gfn) { return virtual_base + (gfn << kPageShift); };
  auto& info = *reinterpret_cast<start_info*>(memory.ram_page(layout.start_info));
  std::memcpy(info.magic, kMagic, sizeof kMagic);
  info.nr_pages = memory.ram_pages;
  info.shared_info = shared_info_gfn << kPageShift;
  info.store_mfn = layout.store;
  info.store_evtchn = config.store_port;
  info.console.domU.mfn = layout.console;
  info.console.domU.evtchn = config.console_port;
  if (!config.flat) {
    info.pt_base = address(layout.page_tables);
    info.nr_pt_frames = layout.page_table_pages;
    info.mfn_list = layout.p2m_address != 0 ? layout.p2m_address : address(layout.p2m);
    info.first_p2m_pfn = layout.p2m;
    info.nr_p2m_frames = layout.p2m_pages + layout.p2m_table_pages;
  }
  if (!config.ramdisk.empty()) {
    info.mod_start = layout.ramdisk_is_mapped ? address(layout.ramdisk) : layout.ramdisk;
    if (!layout.ramdisk_is_mapped) info.flags |= SIF_MOD_START_PFN;
    info.mod_len = config.ramdisk.size();
  }
  std::memcpy(info.cmd_line, config.command_line.data(), config.command_line.size());
}

}  // namespace

Result<BuiltDomain> build(const Image& image, const machine::DomainMemory& memory, Gfn shared_info_gfn,
                          const BuildConfig& config) {
  TRY_VOID(check_config(image, memory, config));
  const Layout layout = TRY(check_layout(image, memory.ram_pages, config));
  const uint64_t virtual_base = config.flat ? config.flat_base : image.virtual_base;

  for (const Segment& segment : image.segments) copy_to_guest(memory, segment.physical, segment.bytes);
  copy_to_guest(memory, layout.ramdisk << kPageShift, config.ramdisk);
  write_p2m(memory, layout);
  write_start_info(memory, layout, virtual_base, shared_info_gfn, config);
  if (!config.flat) {
    write_page_tables(memory, layout.page_tables, {image.virtual_base, layout.mapped_pages});
    if (layout.p2m_address != 0) {
      add_to_page_tables(memory, layout.page_tables, layout.p2m + layout.p2m_pages,
                         {layout.p2m_address, layout.p2m_pages, layout.p2m});
    }
  }

  BuiltDomain built;
  built.virtual_base = virtual_base;
  built.entry = image.entry - image.virtual_base + virtual_base;
  built.start_info = virtual_base + (layout.start_info << kPageShift);
  built.stack = virtual_base + ((layout.stack + 1) << kPageShift);
  built.page_table_base = config.flat ? 0 : layout.page_tables << kPageShift;
  built.page_table_pages = layout.page_table_pages;
  if (image.hypercall_page) built.hypercall_page = *image.hypercall_page - image.virtual_base + virtual_base;
  built.store_gfn = layout.store;
  built.console_gfn = layout.console;
  return built;
}

}  // namespace xenopolis::builder
