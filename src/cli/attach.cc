#include "cli/attach.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "cli/run_directory.h"
#include "toolstack/control_client.h"

namespace xenopolis::cli {
namespace {

constexpr int kPatienceMs = 5000;
constexpr int kDevicePatienceMs = 500;  // for a guest that is about to connect a further console
constexpr int kPauseMs = 50;
constexpr size_t kMostNames = 8;

// Nothing when polisd knows the domain, else what to tell.
Result<void> ask_polisd(const std::string& run_directory, const std::string& domain) {
  EventLoop loop = TRY(EventLoop::create());
  const auto control = TRY(toolstack::ControlClient::connect(loop, run_directory + "/polisd.sock", 0));
  const nlohmann::json list = TRY(control->ask({{"op", "list"}}));
  std::vector<std::string> names;
  for (const nlohmann::json& known : list.value("domains", nlohmann::json::array())) {
    const std::string name = known.value("name", "");
    if (name == domain || std::to_string(known.value("domid", 0)) == domain) return {};
    names.push_back(name);
  }
  if (names.empty()) return fail(0, fmt::format("no domain {}: this host has none", domain));
  if (names.size() > kMostNames) {
    return fail(0, fmt::format("no domain {} (`polis consoles` shows what the others write)", domain));
  }
  std::sort(names.begin(), names.end());
  return fail(0, fmt::format("no domain {}, but {}", domain, fmt::join(names, ", ")));
}

}  // namespace

Result<std::unique_ptr<console::ClientLine>> attach_console(const std::string& run_directory,
                                                            const console::ClientRequest& request) {
  TRY_VOID(find_host(run_directory));
  const MonotonicClock clock;
  const uint64_t began_ns = clock.now_ns();
  bool is_known = false;
  for (;;) {
    auto line = console::ClientLine::open(run_directory + "/console.sock", request, kPatienceMs);
    if (line) return line;
    const int code = line.error().code;
    if (code == ENOENT && !is_known) {
      TRY_VOID(ask_polisd(run_directory, request.domain));
      is_known = true;
    }
    int patience_ms = 0;
    if (code == ENOENT || code == ECONNREFUSED) patience_ms = kPatienceMs;
    if (code == ENXIO) patience_ms = kDevicePatienceMs;
    if (clock.now_ns() - began_ns >= static_cast<uint64_t>(patience_ms) * 1'000'000) {
      if (code == ENXIO) return fail(0, line.error().what);
      return line;
    }
    usleep(kPauseMs * 1000);
  }
}

}  // namespace xenopolis::cli
