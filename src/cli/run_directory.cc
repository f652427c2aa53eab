#include "cli/run_directory.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <cstdlib>

#include "base/unix_socket.h"

namespace xenopolis::cli {

std::string run_directory(const std::string& option) {
  if (!option.empty()) return option;
  if (const char* named = getenv("POLIS_RUN_DIR"); named != nullptr && *named != 0) return named;
  const char* runtime = getenv("XDG_RUNTIME_DIR");
  return std::string(runtime != nullptr && *runtime != 0 ? runtime : "/run") + "/xenopolis/default";
}

Status find_host(const std::string& run_directory) {
  const auto polisd = connect_unix(run_directory + "/polisd.sock", SOCK_STREAM, 0);
  if (polisd) return {};
  if (polisd.error().code != ENOENT && polisd.error().code != ECONNREFUSED) {
    return tl::make_unexpected(polisd.error());
  }
  return fail(0, fmt::format("no host in {} (--run-dir or POLIS_RUN_DIR say where else; polisd --run-dir starts one)",
                             run_directory));
}

}  // namespace xenopolis::cli
