#include "chaos.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>

#include "base/clock.h"

namespace xenopolis::bench {
namespace {

using nlohmann::json;

constexpr uint64_t kBetweenKillsNs = 500'000'000;  // polisd gives up what ends more often than once a second
constexpr uint64_t kBetweenLooksNs = 200'000'000;
constexpr uint64_t kAnswerPatienceNs = 60'000'000'000;
constexpr uint64_t kNsPerSecond = 1'000'000'000;

// Domains come and go between a look at them and a request: that one is too late is no surprise.
bool is_expected(int code) {
  constexpr int kExpected[] = {ENOENT, ESRCH, EEXIST, ECANCELED, EPIPE, ENXIO};
  return std::find(std::begin(kExpected), std::end(kExpected), code) != std::end(kExpected);
}

}  // namespace

Status Chaos::run(double seconds, bool kills_daemons) {
  const MonotonicClock clock;
  const uint64_t end_ns = clock.now_ns() + static_cast<uint64_t>(seconds * kNsPerSecond);
  uint64_t next_kill_ns = clock.now_ns() + kBetweenKillsNs, next_look_ns = 0;
  while (clock.now_ns() < end_ns) {
    if (clock.now_ns() >= next_look_ns) {
      TRY_VOID(refresh());
      next_look_ns = clock.now_ns() + kBetweenLooksNs;
    }
    if (clock.now_ns() >= next_kill_ns) {
      TRY_VOID(kill_something(kills_daemons));
      next_kill_ns = clock.now_ns() + kBetweenKillsNs;
    }
    act();
    TRY_VOID(wait_for_answers(options_.window));
  }
  return wait_for_answers(0);
}

void Chaos::act() {
  const uint64_t dice = below(100);
  // The further from what is wanted, the more probable is the way back.
  const bool is_full = domids_.size() > options_.domains;
  if (domids_.empty() || dice < (is_full ? 10u : 50u)) return create();
  const DomId domid = random_domain();
  const uint64_t action = below(100);
  if (action < (is_full ? 40u : 15u)) {
    ask("destroy", {{"op", "destroy"}, {"domid", domid}});
  } else if (action < 55) {
    ask("shutdown", {{"op", "shutdown"}, {"domid", domid}, {"reason", "poweroff"}});
  } else if (action < 65) {
    ask("reboot", {{"op", "shutdown"}, {"domid", domid}, {"reason", "reboot"}});
  } else if (action < 75) {
    ask("pause", {{"op", "pause"}, {"domid", domid}});
  } else if (action < 90) {
    ask("unpause", {{"op", "unpause"}, {"domid", domid}});
  } else if (action < 95) {
    ask("rename", {{"op", "rename"}, {"domid", domid}, {"name", random_name()}});
  } else if (action < 98) {
    ask("sysrq", {{"op", "sysrq"}, {"domid", domid}, {"key", "h"}});
  } else {
    ask("event_channels", {{"op", "event_channels"}, {"domid", domid}});
  }
}

// Citizens that beat slowly and fast, guests that send storms, ask for nonsense, or end at once.
void Chaos::create() {
  struct Kind {
    const char* image;
    const char* command_line;
  };
  constexpr Kind kKinds[] = {{"citizen", "beat_ms=1000"},
                             {"citizen", "beat_ms=10"},
                             {"citizen", "beat_ms=1"},
                             {"storm", "storm_ms=300"},
                             {"echo", ""},
                             {"hello", ""},
                             {"garbage", ""},
                             {"many_ports", ""}};
  constexpr const char* kActions[] = {"destroy", "restart", "rename-restart", "preserve"};
  const Kind& kind = kKinds[below(std::size(kKinds))];
  // What ends by itself would come again and again.
  const bool stays = std::string_view(kind.image) == "citizen" || std::string_view(kind.image) == "echo";
  json request{{"op", "create"},
               {"name", random_name()},
               {"image", options_.guests + "/" + kind.image},
               {"command_line", kind.command_line},
               {"consoles", below(4) == 0 ? 2 : 0},
               {"paused", below(8) == 0},
               {"on_poweroff", kActions[below(stays ? 4 : 1)]},
               {"on_crash", kActions[below(stays ? 4 : 1)]}};
  ask("create", std::move(request));
}

std::string Chaos::random_name() {
  // Some are taken.
  return below(20) == 0 ? fmt::format("soak-{}", below(next_name_ + 1)) : fmt::format("soak-{}", next_name_++);
}

void Chaos::ask(const std::string& what, json request) {
  ++under_way_;
  ++done_[what];
  host_.client().control().request(std::move(request),
                                   [this, what, generation = generation_](const Result<json>& answer) {
                                     if (generation != generation_) return;
                                     --under_way_;
                                     if (!answer && !is_expected(answer.error().code)) {
                                       ++surprises_[fmt::format("{}: {}", what, answer.error().message())];
                                     } else if (answer && what == "create") {
                                       domids_.push_back(answer->at("domid"));
                                     }
                                   });
}

DomId Chaos::random_domain() {
  return domids_[below(domids_.size())];
}

Status Chaos::kill_something(bool kills_daemons) {
  constexpr const char* kPrograms[] = {"polis-cell", "polis-xenstored", "polisd", "polis-cell", "polis-consoled"};
  const std::string program = kPrograms[next_kill_++ % (kills_daemons ? std::size(kPrograms) : 1)];
  ++done_["kill " + program];
  if (program == "polisd") {
    ++generation_;
    under_way_ = 0;
    TRY_VOID(host_.kill_polisd());
    return refresh();
  }
  // 0: no cell is there.
  if (const pid_t pid = host_.pid_of(program, below(1000)); pid != 0) kill(pid, SIGKILL);
  return {};
}

Status Chaos::wait_for_answers(unsigned at_most) {
  const MonotonicClock clock;
  for (const uint64_t start_ns = clock.now_ns(); under_way_ > at_most;) {
    if (clock.now_ns() - start_ns > kAnswerPatienceNs) {
      return fail(ETIMEDOUT, fmt::format("{} requests have not been answered for a minute", under_way_));
    }
    TRY_VOID(host_.client().loop().run_once(100));
  }
  return {};
}

Status Chaos::refresh() {
  const json listed = TRY(host_.client().ask({{"op", "list"}}));
  domids_.clear();
  for (const json& domain : listed.at("domains")) domids_.push_back(domain.at("domid"));
  return {};
}

Status Chaos::clear() {
  const MonotonicClock clock;
  for (const uint64_t start_ns = clock.now_ns();;) {
    TRY_VOID(refresh());
    if (domids_.empty()) return {};
    if (clock.now_ns() - start_ns > kAnswerPatienceNs) {
      return fail(ETIMEDOUT, fmt::format("{} domains cannot be destroyed", domids_.size()));
    }
    for (const DomId domid : domids_) ask("destroy", {{"op", "destroy"}, {"domid", domid}});
    TRY_VOID(wait_for_answers(0));
  }
}

}  // namespace xenopolis::bench
