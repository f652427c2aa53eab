#include "cli/host_client.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/epoll.h>

#include <charconv>

#include "base/clock.h"
#include "cli/processes.h"
#include "cli/run_directory.h"

namespace xenopolis::cli {
namespace {

// polis-keeper starts polisd again at once, which then looks at all that there is.
constexpr int kRestartPatienceMs = 5000;
constexpr int kLookEveryMs = 10;
constexpr uint64_t kTickNs = 100'000'000;
// A request may take its time, as for a domain of a busy cell; from here on people want to know.
constexpr uint64_t kSilenceNs = 4'000'000'000;

}  // namespace

std::optional<uint32_t> as_domid(std::string_view text) {
  uint32_t domid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), domid);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return domid;
}

std::string for_people(const Error& error) {
  for (const int code : {EINVAL, EEXIST, ENXIO, ENOEXEC, ENOSYS, EPERM, EPIPE, ESRCH, ECANCELED}) {
    if (error.code == code) return error.what;
  }
  return error.what.starts_with("there is no ") ? error.what : error.message();
}

Result<std::unique_ptr<HostClient>> HostClient::connect(const std::string& run_directory) {
  EventLoop loop = TRY(EventLoop::create());
  std::unique_ptr<HostClient> client(new HostClient(run_directory, std::move(loop)));
  const std::string socket = run_directory + "/polisd.sock";
  auto control = toolstack::ControlClient::connect(client->loop_, socket, 0);
  if (!control && control.error().code == ECONNREFUSED) {
    control = toolstack::ControlClient::connect(client->loop_, socket, kRestartPatienceMs);
  }
  if (!control) {
    TRY_VOID(find_host(run_directory));
    return tl::make_unexpected(control.error());
  }
  client->control_ = *std::move(control);
  client->look_for_silence(0);
  return client;
}

void HostClient::look_for_silence(uint64_t answers) {
  loop_.at(MonotonicClock().now_ns() + kSilenceNs, [this, answers] {
    if (!control_->is_asked() || control_->answers() != answers) return look_for_silence(control_->answers());
    const pid_t pid = control_->pid();
    const auto process = process_of(pid);
    const bool is_stopped = process && (process->state == 'T' || process->state == 't');
    fmt::print(stderr, "polis: polisd (process {}) does not answer{}; Ctrl-C{} gives up\n", pid,
               is_stopped ? fmt::format(": it is stopped (kill -CONT {} lets it go on)", pid)
                          : " yet (`polis doctor` may say what it waits for)",
               signals_ ? ", twice," : "");
  });
}

Status HostClient::reconnect() {
  const MonotonicClock clock;
  const uint64_t begin_ns = clock.now_ns();
  for (;;) {
    auto control = toolstack::ControlClient::connect(loop_, directory_ + "/polisd.sock", 0);
    if (control) {
      control_ = *std::move(control);
      break;
    }
    const uint64_t waited_ns = clock.now_ns() - begin_ns;
    if (is_host_over(directory_, waited_ns)) return fail(EPIPE, "the host has ended");
    if (waited_ns >= uint64_t{kRestartPatienceMs} * 1'000'000) {
      return fail(EPIPE,
                  fmt::format("polisd is gone, and none comes in its place ({}/polisd.log may say why)", directory_));
    }
    TRY_VOID(loop_.run_once(kLookEveryMs));  // in which a second signal ends this
  }
  if (!on_event_) return {};
  control_->on_event(on_event_);
  // If this one goes, too, its successor is asked.
  if (control_->ask({{"op", "subscribe"}})) reconnected_();
  return {};
}

Status HostClient::subscribe(std::function<void(const nlohmann::json&)> handler, std::function<void()> reconnected) {
  on_event_ = std::move(handler);
  reconnected_ = std::move(reconnected);
  control_->on_event(on_event_);
  TRY(ask({{"op", "subscribe"}}));
  return {};
}

Result<nlohmann::json> HostClient::ask(const nlohmann::json& request) {
  for (;;) {
    auto answer = control_->ask(request);
    if (answer || control_->is_connected()) return answer;
    TRY_VOID(reconnect());
  }
}

Result<DomId> HostClient::find(const std::string& domain) {
  const auto no_such = [&] {
    return fail(0, fmt::format("there is no domain {} (`polis list` shows those that there are)", domain));
  };
  if (const auto domid = as_domid(domain)) {
    if (*domid >= kDomIdCount) return no_such();
    return static_cast<DomId>(*domid);
  }
  if (domain == "Domain-0") return kDom0;
  const auto found = ask({{"op", "domain"}, {"name", domain}});
  if (!found && found.error().code == ENOENT) return no_such();
  if (!found) return tl::make_unexpected(found.error());
  return found->at("domid").get<DomId>();
}

Result<machine::Machine*> HostClient::machine() {
  while (!machine_) {
    auto machine = control_->attach_machine();
    if (machine) {
      machine_.emplace(*std::move(machine));
    } else if (control_->is_connected()) {
      return tl::make_unexpected(machine.error());
    } else {
      TRY_VOID(reconnect());
    }
  }
  return &*machine_;
}

Status HostClient::catch_signals() {
  if (signals_) return {};
  signals_.emplace(TRY(Signals::take_over({SIGINT, SIGTERM})));
  return loop_.add(signals_->fd(), EPOLLIN, [this](uint32_t) {
    while (const int signal = signals_->next()) {
      if (interrupted_ != 0) die_of(signal);
      interrupted_ = signal;
    }
  });
}

Status HostClient::ask_series(const Series& series) {
  TRY_VOID(catch_signals());
  size_t next = 0;
  size_t under_way = 0;
  bool goes_on = true;
  Status connection;
  std::vector<size_t> lost;  // their polisd has gone
  const MonotonicClock clock;
  uint64_t next_tick_ns = clock.now_ns() + kTickNs;
  const auto has_more = [&] { return goes_on && interrupted_ == 0 && next < series.count; };
  const auto reply_of = [&](size_t index) {
    return [&, index](const Result<nlohmann::json>& answer) {
      --under_way;
      if (!answer && !control_->is_connected() && connection) {
        lost.push_back(index);
      } else if (!series.answered(index, answer)) {
        goes_on = false;
      }
    };
  };
  while (has_more() || under_way != 0 || !lost.empty()) {
    if (!control_->is_connected() && connection) {
      connection = reconnect();
      if (!connection) goes_on = false;
    }
    for (const size_t index : std::exchange(lost, {})) {
      ++under_way;
      if (!connection) {
        reply_of(index)(tl::make_unexpected(connection.error()));
      } else if (series.repeat) {
        series.repeat(index, reply_of(index));
      } else {
        control_->request(series.request(index), reply_of(index));
      }
    }
    while (has_more() && under_way < series.window && control_->is_connected()) {
      const size_t index = next++;
      ++under_way;
      control_->request(series.request(index), reply_of(index));
    }
    if (under_way != 0) TRY_VOID(loop_.run_once(series.tick ? 100 : -1));
    if (series.tick && clock.now_ns() >= next_tick_ns) {
      series.tick();
      next_tick_ns = clock.now_ns() + kTickNs;
    }
  }
  return {};
}

void HostClient::request_unless_gone(nlohmann::json request, toolstack::ControlClient::Reply answer) {
  control_->request(std::move(request), [answer = std::move(answer)](const Result<nlohmann::json>& reply) {
    const bool is_gone = !reply && (reply.error().code == ENOENT || reply.error().code == ESRCH);
    answer(is_gone ? Result<nlohmann::json>(nlohmann::json::object()) : reply);
  });
}

}  // namespace xenopolis::cli
