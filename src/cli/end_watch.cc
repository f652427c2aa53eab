#include "cli/end_watch.h"

#include <fmt/format.h>

namespace xenopolis::cli {

using nlohmann::json;

Result<std::unique_ptr<EndWatch>> EndWatch::start(HostClient& client, bool reboots) {
  std::unique_ptr<EndWatch> watch(new EndWatch(client, reboots));
  EndWatch* self = watch.get();
  client.control().on_event([self](const json& event) { self->on_event(event); });
  client.control().on_disconnect([self] { self->disconnected_ = true; });
  TRY(client.ask({{"op", "subscribe"}}));
  return watch;
}

Result<bool> EndWatch::wait() {
  if (!awaited_.empty()) fmt::print(stderr, "Waiting for {} domains\n", awaited_.size());
  TRY_VOID(client_.catch_signals());
  while (!awaited_.empty() && client_.interrupted() == 0) {
    if (disconnected_) return fail(0, "polisd has gone: `polis list` shows which domains live");
    TRY_VOID(client_.loop().run_once(-1));
  }
  return awaited_.empty();
}

void EndWatch::on_event(const json& event) {
  const std::string what = event.value("event", "");
  const DomId domid = event.value("domid", DomId{0});
  if (!expected_.contains(domid) || ended_.contains(domid)) return;
  if (what == "shutdown" || what == "crashed") {
    fmt::print(stderr, "Domain {} has {}: {}\n", domid, what == "crashed" ? "crashed" : "been shut down",
               event.value("why", ""));
    on_shutdown(domid);
  } else if (what == "destroyed") {
    fmt::print(stderr, "Domain {} has been destroyed\n", domid);
    on_destroyed(domid, event.value("name", ""));
  } else if (what == "created" || what == "rebooted") {  // a successor
    fmt::print(stderr, "Domain {} has started\n", domid);
    end(domid);
  }
}

// Whether it stays (on_poweroff="preserve") or goes: polisd has decided that before it answers.
void EndWatch::on_shutdown(DomId domid) {
  client_.control().request({{"op", "domain"}, {"domid", domid}}, [this, domid](const Result<json>& answer) {
    if (answer && answer->value("stage", "") == "up") end(domid);
  });
}

// Its successor has the name by now, if there is one.
void EndWatch::on_destroyed(DomId domid, const std::string& name) {
  if (!reboots_) return end(domid);
  client_.control().request({{"op", "domain"}, {"name", name}}, [this, domid](const Result<json>& answer) {
    if (answer && answer->value("stage", "") == "creating") {
      const DomId successor = answer->value("domid", DomId{0});
      expect(successor);
      asked(successor);
    }
    end(domid);
  });
}

void EndWatch::end(DomId domid) {
  ended_.insert(domid);
  awaited_.erase(domid);
}

}  // namespace xenopolis::cli
