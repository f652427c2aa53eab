#include "cli/host_client.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/epoll.h>

#include <charconv>

#include "base/clock.h"
#include "cli/run_directory.h"

namespace xenopolis::cli {
namespace {

// polis-keeper starts polisd again at once, which then looks at all that there is.
constexpr int kRestartPatienceMs = 5000;
constexpr uint64_t kTickNs = 100'000'000;

}  // namespace

std::optional<uint32_t> as_domid(std::string_view text) {
  uint32_t domid = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), domid);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return domid;
}

std::string for_people(const Error& error) {
  for (const int code : {EINVAL, EEXIST, ENXIO, ENOSYS, EPERM, ESRCH, ECANCELED}) {
    if (error.code == code) return error.what;
  }
  const bool is_sentence = error.what.starts_with("there is no ") || error.what == "polisd is gone";
  return is_sentence ? error.what : error.message();
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
  return client;
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
  if (!machine_) machine_.emplace(TRY(control_->attach_machine()));
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
  const MonotonicClock clock;
  uint64_t next_tick_ns = clock.now_ns() + kTickNs;
  const auto has_more = [&] { return goes_on && interrupted_ == 0 && next < series.count; };
  while (has_more() || under_way != 0) {
    while (has_more() && under_way < series.window) {
      const size_t index = next++;
      ++under_way;
      control_->request(series.request(index), [&, index](const Result<nlohmann::json>& answer) {
        --under_way;
        if (!series.answered(index, answer)) goes_on = false;
      });
    }
    if (under_way != 0) TRY_VOID(loop_.run_once(series.tick ? 100 : -1));
    if (series.tick && clock.now_ns() >= next_tick_ns) {
      series.tick();
      next_tick_ns = clock.now_ns() + kTickNs;
    }
  }
  return {};
}

}  // namespace xenopolis::cli
