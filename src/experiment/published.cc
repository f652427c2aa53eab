#include "experiment/published.h"

namespace xenopolis::experiment {
namespace {

constexpr Published kPublished[] = {
    {"Xen, stock toolstack", "one more guest beside 1,000 and beside 4,000", "283 ms; 100 s", "not known to us",
     "quoted in discussions of Xen's scalability; we could not trace the first publication", "", 1000, 283, 4000,
     100'000, "stock Xen 283 ms", "stock Xen 100 s"},
    {"LightVM", "boot of a unikernel on Xen with a toolstack without a xenstore", "2.3 ms",
     "Intel Xeon E5-1630 v3, 4 cores, 3.7 GHz, 128 GiB",
     "Manco et al., My VM is Lighter (and Safer) than your Container, SOSP 2017",
     "https://doi.org/10.1145/3132747.3132763", 1, 2.3, 0, 0, "LightVM 2.3 ms"},
    {"Nephele", "clone of a running unikernel on Xen, first to thousandth", "21 to 38 ms",
     "not stated where we found it",
     "Lupu et al., Nephele: Extending Virtualization Environments for Cloning Unikernel-based VMs, EuroSys 2023",
     "https://github.com/nephele-vm/experiments", 1, 21, 1000, 38, "Nephele clone 21 to 38 ms"},
    {"Firecracker", "from InstanceStart to the guest's /sbin/init, Linux guest, promised upper limit", "125 ms",
     "AWS i3.metal (later m5d.metal, m6g.metal), hyperthreading off", "Firecracker, SPECIFICATION.md",
     "https://github.com/firecracker-microvm/firecracker/blob/main/SPECIFICATION.md", 1, 125, 0, 0,
     "Firecracker 125 ms"},
    {"Firecracker", "steady rate of creation, minimal Linux, 1 vCPU, 128 MiB", "5 microVMs per core and second",
     "an example of 36 physical cores", "Firecracker, docs/design.md",
     "https://github.com/firecracker-microvm/firecracker/blob/main/docs/design.md", 0, 0, 0, 0, ""},
    {"KraftCloud", "cold boot of an NGINX unikernel, first to 5,000th on one server", "4 to 14 ms",
     "AMD EPYC 7402P, 24 cores, 2.8 GHz, 64 GiB", "Unikraft, Death to Cold Starts, September 2023",
     "https://unikraft.io/blog/2023-09-14-death-to-cold-boots", 1, 4, 5000, 14, "KraftCloud 4 to 14 ms"},
};

}  // namespace

std::span<const Published> published() {
  return kPublished;
}

}  // namespace xenopolis::experiment
