#include "live_host.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

#include <algorithm>

#include "base/clock.h"

namespace xenopolis::testing {
namespace {

constexpr int kPatienceMs = 30'000;

void wait_for_end(int pidfd) {
  pollfd ended{pidfd, POLLIN, 0};
  EXPECT_EQ(poll(&ended, 1, kPatienceMs), 1);
}

}  // namespace

LiveHost::LiveHost(std::vector<std::string> options) {
  const auto given = std::find(options.begin(), options.end(), "--run-dir");
  path_ = given == options.end() ? directory_.path() : given[1];
  if (given == options.end()) options.insert(options.end(), {"--run-dir", path_});
  if (std::find(options.begin(), options.end(), "--backend") == options.end()) {
    options.insert(options.end(), {"--backend", "hosted"});
  }
  if (std::find(options.begin(), options.end(), "--reserve-mib") == options.end()) {
    options.insert(options.end(), {"--reserve-mib", "64"});
  }
  options.insert(options.end(), {"--log-level", "error", "--die-with-parent"});
  keeper_ = toolstack::Process::spawn(POLISD_PROGRAM, options, {}).value();
  connect();
}

LiveHost::~LiveHost() {
  if (!keeper_) return;
  keeper_->signal(SIGTERM);
  await_end();
}

std::string LiveHost::await_end() {
  wait_for_end(keeper_->pidfd());
  const std::string how = keeper_->reap();
  keeper_.reset();
  return how;
}

void LiveHost::connect() {
  control_.reset();
  control_ = toolstack::ControlClient::connect(loop_, directory() + "/polisd.sock", kPatienceMs).value();
}

machine::Machine& LiveHost::machine() {
  if (!machine_) machine_.emplace(control_->attach_machine().value());
  return *machine_;
}

Result<DomId> LiveHost::create(const std::string& name, const std::string& guest, const nlohmann::json& more) {
  nlohmann::json request{{"op", "create"}, {"name", name}, {"image", XENOPOLIS_GUEST_DIR "/" + guest}};
  request.update(more);
  return TRY(control_->ask(std::move(request))).at("domid").get<DomId>();
}

pid_t LiveHost::pid_of(const std::string& program) {
  const auto info = ask({{"op", "info"}});
  if (!info) return 0;
  const nlohmann::json& processes = info->at("processes");
  if (program != "polis-cell") return processes.at(program);
  return processes.at("cells").empty() ? 0 : processes.at("cells").at(0).get<pid_t>();
}

nlohmann::json LiveHost::list() {
  const auto listed = ask({{"op", "list"}});
  EXPECT_TRUE(listed) << listed.error().message();
  return listed ? listed->at("domains") : nlohmann::json::array();
}

void LiveHost::kill_polisd() {
  const pid_t pid = pid_of("polisd");
  ASSERT_NE(pid, 0);
  const Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  ASSERT_EQ(kill(pid, SIGKILL), 0);
  wait_for_end(pidfd.get());
}

bool LiveHost::await(const std::function<bool()>& is_so) {
  const uint64_t give_up_ns = MonotonicClock().now_ns() + uint64_t{kPatienceMs} * 1'000'000;
  while (!is_so()) {
    if (MonotonicClock().now_ns() > give_up_ns) return false;
    (void)loop_.run_once(5);
  }
  return true;
}

std::string LiveHost::shell(const std::string& command) const {
  const std::string line =
      "export XENSTORED_PATH=" + directory() + "/xenstored.sock POLIS_RUN_DIR=" + directory() + "; " + command;
  FILE* pipe = popen(line.c_str(), "re");
  if (pipe == nullptr) return "";
  std::string output;
  char buffer[4096];
  for (size_t got; (got = fread(buffer, 1, sizeof buffer, pipe)) != 0;) output.append(buffer, got);
  pclose(pipe);
  return output;
}

}  // namespace xenopolis::testing
