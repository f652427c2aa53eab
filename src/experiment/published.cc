#include "experiment/published.h"

namespace xenopolis::experiment {
namespace {

constexpr std::string_view kNepheleHardware =
    "not stated in their repository beyond: a commodity x86-64 server, at least 4 CPUs and 16 GB";

constexpr Published kPublished[] = {
    {"Xen with xl", "boot of a unikernel, first to thousandth (medians of the first and the last 50)", "161 to 283 ms",
     kNepheleHardware, "Nephele's measurements of what it is compared with, benchmarks/instantiation/data/boot/xl.csv",
     "https://github.com/nephele-vm/experiments", 1, 161, 1000, 283, "Xen, xl 161 to 283 ms"},
    {"Xen, stock toolstack", "one more guest beside 4,000", "100 s", "not known to us",
     "quoted in discussions of Xen's scalability; we could not trace the first publication", "", 4000, 100'000, 0, 0,
     "stock Xen 100 s"},
    {"LightVM", "boot of a unikernel on Xen with a toolstack without a xenstore", "2.3 ms",
     "Intel Xeon E5-1630 v3, 4 cores, 3.7 GHz, 128 GiB",
     "Manco et al., My VM is Lighter (and Safer) than your Container, SOSP 2017",
     "https://doi.org/10.1145/3132747.3132763", 1, 2.3, 0, 0, "LightVM 2.3 ms"},
    {"Nephele", "clone of a running unikernel on Xen, first to thousandth", "21 to 38 ms", kNepheleHardware,
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
