#include "cli/run_directory.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/unix_socket.h"

namespace xenopolis::cli {
namespace {

// Null when it is not set or empty.
const char* variable(const char* name) {
  const char* value = getenv(name);
  return value != nullptr && *value != 0 ? value : nullptr;
}

}  // namespace

std::string hosts_directory() {
  if (const char* runtime = variable("XDG_RUNTIME_DIR")) return std::string(runtime) + "/xenopolis";
  // Where the session has it, of which su and sudo do not tell.
  return geteuid() == 0 ? "/run/xenopolis" : fmt::format("/run/user/{}/xenopolis", geteuid());
}

Result<std::string> directory_of_host(const std::string& name) {
  const bool is_name =
      !name.empty() && name.size() < 64 && name.front() != '.' && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
               c == '-';
      });
  if (!is_name) {
    return fail(0,
                fmt::format("\"{}\" is no name for a host: 1 to 63 letters, digits and . _ -, no dot in front", name));
  }
  return hosts_directory() + "/" + name;
}

Result<std::string> usual_run_directory() {
  if (const char* named = variable("POLIS_RUN_DIR")) return std::string(named);
  const char* host = variable("POLIS_HOST");
  return directory_of_host(host != nullptr ? host : kUsualHost);
}

Status find_host(const std::string& run_directory) {
  const auto polisd = connect_unix(run_directory + "/polisd.sock", SOCK_STREAM, 0);
  if (polisd) return {};
  if (polisd.error().code != ENOENT && polisd.error().code != ECONNREFUSED) {
    return tl::make_unexpected(polisd.error());
  }
  return fail(0, fmt::format("no host in {} (`polis host start` starts one; --host, --run-dir, POLIS_HOST and "
                             "POLIS_RUN_DIR say which is meant)",
                             run_directory));
}

bool is_host_over(const std::string& run_directory, uint64_t lost_ns) {
  // A polisd that ends in order takes its socket along, and one that starts makes it anew within no time.
  constexpr uint64_t kPatienceNs = 300'000'000;
  return lost_ns >= kPatienceNs && access((run_directory + "/polisd.sock").c_str(), F_OK) != 0;
}

}  // namespace xenopolis::cli
