#include "experiment/machine_description.h"

#include <cpuid.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

#include "toolstack/host_memory.h"

namespace xenopolis::experiment {
namespace {

std::string cpu_model() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

// CPUID leaf 1 ECX bit 31 and the signature of leaf 0x40000000.
std::string hypervisor() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) == 0 || (ecx & (1u << 31)) == 0) return "none";
  __cpuid(0x40000000, eax, ebx, ecx, edx);
  char signature[13] = {};
  std::memcpy(signature, &ebx, 4);
  std::memcpy(signature + 4, &ecx, 4);
  std::memcpy(signature + 8, &edx, 4);
  return signature;
}

}  // namespace

nlohmann::json describe_machine() {
  utsname kernel{};
  uname(&kernel);
  const auto memory = toolstack::host_memory();
  return {{"cpu", cpu_model()},
          {"cpus", sysconf(_SC_NPROCESSORS_ONLN)},
          {"memory_mib", memory ? memory->total_kib / 1024 : 0},
          {"kernel", fmt::format("{} {}", kernel.sysname, kernel.release)},
          {"hypervisor", hypervisor()},
          {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(time(nullptr)))}};
}

}  // namespace xenopolis::experiment
