#include "experiment/fleet.h"

#include <fmt/format.h>

#include "base/clock.h"
#include "event/event_channels.h"

namespace xenopolis::experiment {
namespace {

constexpr size_t kProblemsShown = 5;
// Many, because a cell waits for KVM when it closes a VM: so that many cells do at the same time.
constexpr uint32_t kShutdownWindow = 1024;

uint64_t now_ns() {
  return MonotonicClock().now_ns();
}

}  // namespace

Fleet::Fleet(EventLoop& loop, PrivateHost& host, const Options& options, std::string image, bool citizens,
             std::string console_text, Results& results)
    : loop_(loop),
      host_(host),
      options_(options),
      image_(std::move(image)),
      citizens_(citizens),
      console_text_(std::move(console_text)),
      results_(results),
      events_(host.machine()),
      grants_(host.machine()),
      subjects_(options.domains) {}

Result<std::unique_ptr<Fleet>> Fleet::start(EventLoop& loop, PrivateHost& host, const Options& options,
                                            std::string image, bool citizens, std::string console_text,
                                            Results& results) {
  std::unique_ptr<Fleet> fleet(
      new Fleet(loop, host, options, std::move(image), citizens, std::move(console_text), results));
  Fleet* self = fleet.get();
  if (citizens) {
    self->pinger_ =
        TRY(Pinger::start(loop, self->events_, self->grants_, host.xenstore(),
                          [self](DomId domid, const Status& status) { self->on_connected(domid, status); }));
  }
  self->consoles_ = TRY(ConsoleWatch::start(loop, host.console_socket(),
                                            [self](const std::string& name) { self->on_console_text(name); }));
  host.control().on_event([self](const nlohmann::json& event) { self->on_domain_event(event); });
  TRY(host.control().ask({{"op", "subscribe"}}));
  self->create_more();
  return fleet;
}

void Fleet::create_more() {
  while (!stopped_ && in_flight_ < options_.window && next_ < subjects_.size()) create(next_++);
}

void Fleet::create(size_t index) {
  Subject& subject = subjects_[index];
  subject.name = fmt::format("{}-{}", citizens_ ? "citizen" : "guest", index + 1);
  by_name_[subject.name] = index;
  subject.requested_ns = now_ns();
  ++in_flight_;
  nlohmann::json request{{"op", "create"},
                         {"name", subject.name},
                         {"memory_mib", options_.memory_mib},
                         {"image", image_},
                         {"on_reboot", "destroy"}};
  if (citizens_) {
    request["command_line"] =
        fmt::format("event_abi={} beat_ms={}", event::name_of(event::guest_abi(*event::abi_named(options_.event_abi))),
                    options_.beat_ms);
  }
  host_.control().request(std::move(request),
                          [this, index](const Result<nlohmann::json>& answer) { on_created(index, answer); });
}

void Fleet::on_created(size_t index, const Result<nlohmann::json>& answer) {
  Subject& subject = subjects_[index];
  if (!answer) {
    // A limit of the host ends creation: whatever comes next would meet it too. The death of its cell is the domain's
    // own bad luck.
    fail_subject(subject, answer.error().message(), /*is_wall=*/answer.error().code != ECANCELED);
    return;
  }
  subject.domid = answer->at("domid").get<DomId>();
  by_domid_[subject.domid] = index;
  ++created_;
  if (pinger_) pinger_->await(subject.domid);
  consoles_->expect(subject.name, console_text_);
}

void Fleet::on_connected(DomId domid, const Status& status) {
  const auto found = by_domid_.find(domid);
  if (found == by_domid_.end()) return;
  Subject& subject = subjects_[found->second];
  if (!status) return fail_subject(subject, status.error().message(), status.error().code == ENOSPC);
  subject.connected = true;
  check_up(subject);
}

void Fleet::on_console_text(const std::string& name) {
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return;
  subjects_[found->second].console_seen = true;
  check_up(subjects_[found->second]);
}

void Fleet::check_up(Subject& subject) {
  if (subject.up_ns != 0 || subject.failed || !subject.console_seen || (citizens_ && !subject.connected)) return;
  subject.up_ns = last_up_ns_ = now_ns();
  results_.create_to_up_ms.push_back(static_cast<double>(subject.up_ns - subject.requested_ns) / 1e6);
  ++up_;
  ++settled_count_;
  --in_flight_;
  create_more();
}

void Fleet::fail_subject(Subject& subject, const std::string& why, bool is_wall) {
  if (subject.up_ns != 0 || subject.failed) return;
  subject.failed = true;
  ++settled_count_;
  --in_flight_;
  if (is_wall && !results_.wall) {
    results_.wall = Wall{static_cast<uint32_t>(&subject - subjects_.data()) + 1, why};
    stopped_ = true;
  } else if (!is_wall) {
    problem(fmt::format("{}: {}", subject.name, why));
  }
  create_more();
}

void Fleet::give_up(const std::string& why) {
  stopped_ = true;
  for (size_t index = 0; index < next_; ++index) fail_subject(subjects_[index], why, false);
}

void Fleet::on_domain_event(const nlohmann::json& event) {
  const std::string what = event.at("event");
  const auto found = by_name_.find(event.at("name").get<std::string>());
  if (found == by_name_.end()) return;
  Subject& subject = subjects_[found->second];
  const std::string why = event.value("why", "");
  if (what == "shutdown" && why == "poweroff") {
    ++results_.domains_shut_down;
  } else if (what == "crashed" || what == "shutdown") {
    // A reboot, too: nobody here asks for one.
    ++results_.domains_crashed;
    problem(fmt::format("{} {}: {}", subject.name, what == "crashed" ? "crashed" : "ended", why));
  }
  if (what == "crashed" || what == "shutdown") {
    // Its memory goes as soon as polisd has it back.
    if (pinger_) pinger_->forget(event.at("domid").get<DomId>());
    return;
  }
  if (what != "destroyed") return;
  by_domid_.erase(event.at("domid").get<DomId>());
  if (subject.ended) return;
  subject.ended = true;
  ++ended_;
  if (subject.up_ns != 0) {
    ++ended_after_up_;
  } else {
    fail_subject(subject, "it ended before it was up", false);
  }
  if (shutting_down_) {
    if (shutdowns_under_way_ > 0) --shutdowns_under_way_;
    shut_down_more();
  }
}

void Fleet::begin_shutdown() {
  shutting_down_ = true;
  stopped_ = true;
  shut_down_more();
}

void Fleet::shut_down_more() {
  for (; shutdowns_under_way_ < kShutdownWindow && next_shutdown_ < next_; ++next_shutdown_) {
    Subject& subject = subjects_[next_shutdown_];
    if (subject.ended || subject.domid == 0) continue;
    ++shutdowns_under_way_;
    if (citizens_ && subject.up_ns != 0) {
      host_.xenstore().write(fmt::format("/local/domain/{}/control/shutdown", subject.domid), "poweroff");
    } else {
      host_.control().request({{"op", "destroy"}, {"domid", subject.domid}}, [](const Result<nlohmann::json>&) {});
    }
  }
}

void Fleet::problem(std::string text) {
  if (results_.problems.size() < kProblemsShown) results_.problems.push_back(std::move(text));
}

}  // namespace xenopolis::experiment
