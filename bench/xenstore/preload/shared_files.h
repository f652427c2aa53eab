// What the preload library has in common with the load program: files in one directory, which stand for Xen.
#pragma once

#include <cstdint>

namespace xenopolis::bench {

// The environment variable that names the directory.
inline constexpr char kXenDirectory[] = "XENOPOLIS_BENCH_XEN";

// Memory: the ring of domain N is page N. Sparse; mapped by both sides.
inline constexpr char kPagesFile[] = "pages";
inline constexpr uint32_t kPageBytes = 4096;
inline constexpr uint32_t kDomains = 32'752;

// Domain 0, by its kernel's files of /proc/xen: the port in decimal, and the ring's page.
inline constexpr char kProcXen[] = "/proc/xen/";
inline constexpr char kDom0PortFile[] = "xsd_port";
inline constexpr char kDom0RingFile[] = "xsd_kva";

// Event channels: fifos of uint32_t. A guest's event to the daemon is its domid; so is the daemon's to a guest.
inline constexpr char kToDaemonFifo[] = "to-daemon";
inline constexpr char kToGuestsFifo[] = "to-guests";
// The port of VIRQ_DOM_EXC, which never comes. Ports of the daemon are domids otherwise.
inline constexpr uint32_t kVirqPort = kDomains;

}  // namespace xenopolis::bench
