#include "config/other_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <span>
#include <string_view>

namespace xenopolis::config {
namespace {

// The keys that to_spec() reads, for guesses at what a mistyped one should have been.
constexpr std::string_view kOurKeys[] = {
    "builder",  "cmdline", "consoles", "extra",    "kernel",      "max_event_channels", "max_grant_frames", "maxmem",
    "maxvcpus", "memory",  "name",     "on_crash", "on_poweroff", "on_reboot",          "on_watchdog",      "ramdisk",
    "root",     "type",    "uuid",     "vcpus",
};

struct OtherKey {
  std::string_view key;
  std::string_view accepted = "";  // the value that changes nothing; empty: none. Empty lists are always accepted.
};

struct Group {
  std::string_view reason;
  std::span<const OtherKey> keys;
};

constexpr OtherKey kDevices[] = {{"channel"}, {"disk"},    {"dtdev"},  {"p9"},     {"pci"},   {"pvcalls"},
                                 {"rdm"},     {"usbctrl"}, {"usbdev"}, {"vdispl"}, {"vfb"},   {"vif"},
                                 {"vkb"},     {"vsnd"},    {"vtpm"},   {"nics"},   {"virtio"}};
constexpr OtherKey kHardware[] = {{"ioports"},
                                  {"iomem"},
                                  {"irqs"},
                                  {"e820_host", "0"},
                                  {"passthrough", "disabled"},
                                  {"pci_permissive", "0"},
                                  {"pci_msitranslate", "0"},
                                  {"pci_seize", "0"},
                                  {"pci_power_mgmt", "0"},
                                  {"gfx_passthru", "0"},
                                  {"rdm_mem_boundary"},
                                  {"device_tree"},
                                  {"tee", "none"},
                                  {"gic_version"},
                                  {"vuart"}};
constexpr OtherKey kScheduling[] = {{"cpu_weight", "256"}, {"cap", "0"},  {"cpus", "all"}, {"cpus_soft", "all"},
                                    {"pool", "Pool-0"},    {"vnuma"},     {"period"},      {"slice"},
                                    {"latency"},           {"extratime"}, {"budget"},      {"nodes"}};
constexpr OtherKey kBooting[] = {{"bootloader"}, {"bootloader_args"}, {"firmware"}, {"boot"}};
constexpr OtherKey kFullVirtualisation[] = {
    {"acpi", "0"},
    {"acpi_firmware"},
    {"acpi_laptop_slate", "0"},
    {"acpi_s3", "0"},
    {"acpi_s4", "0"},
    {"altp2m", "disabled"},
    {"altp2mhvm", "0"},
    {"apic", "0"},
    {"bios"},
    {"bios_path_override"},
    {"device_model_args"},
    {"device_model_args_hvm"},
    {"device_model_args_pv"},
    {"device_model_override"},
    {"device_model_stubdomain_override", "0"},
    {"device_model_stubdomain_seclabel"},
    {"device_model_user"},
    {"device_model_version"},
    {"dm_restrict", "0"},
    {"hap", "0"},
    {"hdtype"},
    {"hpet", "0"},
    {"keymap"},
    {"localtime", "0"},
    {"mca_caps"},
    {"mmio_hole"},
    {"ms_vm_genid", "none"},
    {"nestedhvm", "0"},
    {"nographic", "1"},
    {"nx"},
    {"oos", "0"},
    {"opengl", "0"},
    {"pae"},
    {"pvshim", "0"},
    {"pvshim_cmdline"},
    {"pvshim_extra"},
    {"pvshim_path"},
    {"rtc_timeoffset", "0"},
    {"sdl", "0"},
    {"serial"},
    {"shadow_memory", "0"},
    {"smbios_firmware"},
    {"soundhw"},
    {"spice", "0"},
    {"spice_clipboard_sharing", "0"},
    {"spice_image_compression"},
    {"spice_streaming_video"},
    {"spiceagent_mouse"},
    {"spicedisable_ticketing"},
    {"spicehost"},
    {"spicepasswd"},
    {"spiceport"},
    {"spicetls_port"},
    {"spiceusbredirection"},
    {"spicevdagent"},
    {"stdvga", "0"},
    {"stubdomain_cmdline"},
    {"stubdomain_kernel"},
    {"stubdomain_memory"},
    {"stubdomain_ramdisk"},
    {"timer_mode"},
    {"usb", "0"},
    {"usbdevice"},
    {"usbversion"},
    {"vendor_device", "none"},
    {"vga", "none"},
    {"videoram"},
    {"viridian", "0"},
    {"vkb_device", "0"},
    {"vnc", "0"},
    {"vncdisplay"},
    {"vnclisten"},
    {"vncpasswd"},
    {"vncunused"},
    {"vncviewer", "0"},
    {"vpt_align"},
    {"xen_platform_pci", "0"},
};
constexpr OtherKey kRest[] = {{"claim_mode"},
                              {"cpuid"},
                              {"driver_domain", "0"},
                              {"init_seclabel"},
                              {"max_grant_version", "1"},
                              {"max_maptrack_frames", "0"},
                              {"msr_relaxed", "0"},
                              {"nomigrate"},
                              {"on_soft_reset", "destroy"},
                              {"seclabel"},
                              {"suppress_spurious_page_faults", "0"},
                              {"tsc_mode", "default"},
                              {"vmtrace_buf_kb", "0"},
                              {"vpmu", "0"},
                              {"xend_suspend_evtchn_compat", "0"},
                              {"xend_to_xl_migrate"}};

constexpr Group kGroups[] = {
    {"guests have no such devices here", kDevices},
    {"guests have no hardware here", kHardware},
    {"domains have equal shares of all processors here", kScheduling},
    {"this host starts images directly: name one with kernel", kBooting},
    {"is for HVM and PVH guests, and this host runs PV guests only", kFullVirtualisation},
    {"this host has nothing like it", kRest},
};

// Levenshtein's.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0]++;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t substituted = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, substituted});
    }
  }
  return row[b.size()];
}

std::string guess(std::string_view key) {
  constexpr size_t kMostBytes = 32;  // longer than every key: the work below is bounded
  if (key.size() > kMostBytes) return "";
  const auto closest = std::min_element(std::begin(kOurKeys), std::end(kOurKeys),
                                        [key](auto a, auto b) { return distance(key, a) < distance(key, b); });
  return distance(key, *closest) <= std::max<size_t>(1, key.size() / 3) ? fmt::format("; is {} meant?", *closest) : "";
}

}  // namespace

std::optional<std::string> why_not(const Setting& setting) {
  for (const Group& group : kGroups) {
    for (const OtherKey& other : group.keys) {
      if (other.key != setting.key) continue;
      if (!setting.value && setting.items == 0) return std::nullopt;
      if (!other.accepted.empty() && setting.value == other.accepted) return std::nullopt;
      if (other.accepted.empty()) return fmt::format("{}; leave it out", group.reason);
      return fmt::format("{}; leave it out or say {}", group.reason, other.accepted);
    }
  }
  return fmt::format("is no key of xl.cfg(5){}", guess(setting.key));
}

}  // namespace xenopolis::config
