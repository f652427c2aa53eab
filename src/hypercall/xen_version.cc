#include "hypercall/handlers.h"

namespace xenopolis::hypercall::handlers {
namespace {

// A text of fixed size, padded with zeros.
template <class Buffer>
int64_t answer_text(Context& context, uint64_t address, std::string_view text) {
  Buffer buffer{};
  std::memcpy(&buffer, text.data(), std::min(text.size(), sizeof buffer - 1));
  return context.memory.copy_out(address, &buffer, sizeof buffer) ? 0 : refuse(XenErrno::kFault);
}

int64_t compile_info(Context& context, uint64_t argument) {
  xen_compile_info info{};
  std::strncpy(info.compiler, __VERSION__, sizeof info.compiler - 1);
  return context.memory.write(argument, info) ? 0 : refuse(XenErrno::kFault);
}

constexpr uint32_t feature(unsigned number) {
  return 1u << number;
}

// What kernels decide upon. A flat domain has no page tables, hence no frames of another number either. Linux does not
// start as a PV guest without gnttab_map_avail_bits (xen_pv_init_platform); it is about grant mappings, which guests
// cannot make.
constexpr uint32_t kFlatFeatures = feature(XENFEAT_writable_page_tables) | feature(XENFEAT_auto_translated_physmap);
constexpr uint32_t kPagedFeatures = feature(XENFEAT_pae_pgdir_above_4gb) | feature(XENFEAT_mmu_pt_update_preserve_ad) |
                                    feature(XENFEAT_gnttab_map_avail_bits);

int64_t get_features(Context& context, uint64_t argument) {
  xen_feature_info info;
  if (!context.memory.read(argument, info)) return refuse(XenErrno::kFault);
  if (info.submap_idx >= XENFEAT_NR_SUBMAPS) return refuse(XenErrno::kInval);
  info.submap = context.mmu == nullptr ? kFlatFeatures : kPagedFeatures;
  return context.memory.write(argument, info) ? 0 : refuse(XenErrno::kFault);
}

// The domain's UUID, which the toolstack has given it.
int64_t guest_handle(Context& context, uint64_t argument) {
  const auto& handle = context.record.configuration.uuid;
  static_assert(sizeof handle == sizeof(xen_domain_handle_t));
  return context.memory.copy_out(argument, handle, sizeof handle) ? 0 : refuse(XenErrno::kFault);
}

}  // namespace

// xen_version(command, argument)
int64_t xen_version(Context& context, const Arguments& arguments) {
  const uint64_t argument = arguments[1];
  switch (arguments[0]) {
    case XENVER_version:
      return kXenMajor << 16 | kXenMinor;
    case XENVER_extraversion:
      return answer_text<xen_extraversion_t>(context, argument, "-xenopolis");
    case XENVER_compile_info:
      return compile_info(context, argument);
    case XENVER_capabilities:
      return answer_text<xen_capabilities_info_t>(context, argument, "xen-3.0-x86_64 ");
    case XENVER_changeset:
      return answer_text<xen_changeset_info_t>(context, argument, "unavailable");
    case XENVER_platform_parameters: {
      const xen_platform_parameters parameters{.virt_start = HYPERVISOR_VIRT_START};
      return context.memory.write(argument, parameters) ? 0 : refuse(XenErrno::kFault);
    }
    case XENVER_get_features:
      return get_features(context, argument);
    case XENVER_pagesize:
      return argument == 0 ? static_cast<int64_t>(kPageSize) : refuse(XenErrno::kInval);
    case XENVER_guest_handle:
      return guest_handle(context, argument);
    // Not for ordinary domains, in Xen as here.
    case XENVER_commandline:
      return answer_text<xen_commandline_t>(context, argument, "<denied>");
    case XENVER_build_id:
      return refuse(XenErrno::kPerm);
    default:
      return refuse(XenErrno::kNoSys);
  }
}

}  // namespace xenopolis::hypercall::handlers
