// polis-xenstored: the xenstore daemon.
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include <CLI/CLI.hpp>
#include <csignal>

#include "base/event_loop.h"
#include "base/log.h"
#include "xenstore/server.h"
#include "xenstore/socket.h"

namespace xenopolis {
namespace {

struct Options {
  std::string socket;
  bool standalone = false;
  std::string log_level = "info";
};

Result<Fd> signals_as_descriptor() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return fail_errno("blocking SIGTERM");
  Fd fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail_errno("signalfd");
  return fd;
}

// Every client is a descriptor.
void allow_many_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

Status serve(const Options& options) {
  allow_many_descriptors();
  const Fd signals = TRY(signals_as_descriptor());
  EventLoop loop = TRY(EventLoop::create());
  xenstore::Server server;
  const auto listener = TRY(xenstore::SocketListener::open(options.socket, server, loop));
  bool stopping = false;
  TRY_VOID(loop.add(signals.get(), EPOLLIN, [&](uint32_t) { stopping = true; }));
  log::info("serving {}", options.socket);
  while (!stopping) {
    TRY_VOID(loop.run_once(server.ready().empty() ? -1 : 0));
    server.ready().run_once();
  }
  return {};
}

}  // namespace
}  // namespace xenopolis

int main(int argc, char** argv) {
  xenopolis::Options options;
  CLI::App app("The xenstore daemon of Xenopolis.", "polis-xenstored");
  app.add_option("--socket", options.socket, "unix socket for the clients of Dom0")->required();
  app.add_flag("--standalone", options.standalone, "without a machine: no domain can be introduced");
  app.add_option("--log-level", options.log_level, "error, warn, info or debug");
  CLI11_PARSE(app, argc, argv);
  xenopolis::log::start("polis-xenstored", options.log_level);
  if (const xenopolis::Status served = xenopolis::serve(options); !served) {
    xenopolis::log::error("{}", served.error().message());
    return 1;
  }
  return 0;
}
