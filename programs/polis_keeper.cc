// polis-keeper: the parent of all processes of a host. It starts polisd, again when that was killed, and keeps for it
// what must not end with it.
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "base/fd.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "common_options.h"
#include "toolstack/keeper_service.h"

int main(int argc, char** argv) {
  using namespace xenopolis;
  CLI::App app("Keeps a Xenopolis host together. polisd starts it.", "polis-keeper");
  toolstack::KeeperConfig config;
  LogOptions log_options;
  std::string remove;
  bool die_with_parent = false;
  app.add_option("--polisd", config.polisd, "path of the program")->required();
  app.add_option("--remove", remove, "a directory to remove at the end")->type_name("DIR");
  app.add_flag("--die-with-parent", die_with_parent, "end with the process that started this one");
  app.add_option("--most-kills", config.most_kills, "end when polisd is killed more often than this within 10 s")
      ->capture_default_str();
  log_options.add_to(app);
  app.add_option("ARGUMENTS", config.arguments, "polisd's, after --");
  CLI11_PARSE(app, argc, argv);
  log_options.start("polis-keeper");
  use_all_descriptors();
  if (die_with_parent) prctl(PR_SET_PDEATHSIG, SIGTERM);
  // What it has from `polis host start`, the lock of the run directory, it has alone.
  constexpr unsigned kCloseOnExec = 1 << 2;  // CLOSE_RANGE_CLOEXEC
  syscall(SYS_close_range, 3u, ~0u, kCloseOnExec);
  // For the whole host: all of it is started from here. Root's own: what clients name, and sockets and logs, in other
  // users' directories; and for the others to give up more.
  if (const Status dropped = sandbox::drop_privileges({CAP_DAC_OVERRIDE, CAP_CHOWN, CAP_FOWNER, CAP_SETPCAP});
      !dropped) {
    log::error("{}", dropped.error().message());
    return 1;
  }
  const int status = toolstack::keep_host(config);
  std::error_code ignored;
  if (!remove.empty()) std::filesystem::remove_all(remove, ignored);
  return status;
}
