// guest_verdict BACKEND IMAGE [COMMAND-LINE]: runs a guest until it ends, prints its console, and exits with its
// verdict: 0 PASS, 1 FAIL, 77 SKIP.
#include <cstdio>
#include <cstdlib>

#include "vcpu/testing/test_host.h"

namespace xenopolis::vcpu::testing {
namespace {

constexpr int kPass = 0, kFail = 1, kSkip = 77;

int verdict(const std::string& backend_name, const std::string& image, const std::string& command_line) {
  const auto backend = backend_called(backend_name);
  if (!backend) {
    const bool required = backend_name == "kvm" && std::getenv("REQUIRE_KVM") != nullptr && is_testable(backend_name);
    std::printf("SKIP no %s backend: %s\n", backend_name.c_str(), backend.error().message().c_str());
    return required ? kFail : kSkip;
  }
  TestHost host(**backend);
  const auto domid = host.start(image, command_line);
  if (!domid) {
    std::printf("FAIL %s\n", domid.error().message().c_str());
    return kFail;
  }
  const bool ended = host.run_until_ended(*domid, 60'000'000'000);
  const std::string& console = host.console(*domid);
  std::fwrite(console.data(), 1, console.size(), stdout);
  if (!ended) {
    std::printf("FAIL it runs on\n");
    return kFail;
  }
  const Runner::Ended& end = host.end_of(*domid);
  std::printf("ended: reason %u %s\n", end.reason, end.text.c_str());
  const std::string lines = "\n" + console;
  if (end.reason != SHUTDOWN_poweroff || lines.find("\nFAIL ") != std::string::npos) return kFail;
  if (lines.find("\nSKIP ") != std::string::npos) return kSkip;
  return lines.find("\nPASS ") != std::string::npos ? kPass : kFail;
}

}  // namespace
}  // namespace xenopolis::vcpu::testing

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  return xenopolis::vcpu::testing::verdict(argv[1], argv[2], argc > 3 ? argv[3] : "");
}
