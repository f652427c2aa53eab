#include "cli/end_watch.h"

#include <fmt/format.h>

#include "cli/domain_list.h"

namespace xenopolis::cli {

using nlohmann::json;

Result<std::unique_ptr<EndWatch>> EndWatch::start(HostClient& client, bool reboots) {
  std::unique_ptr<EndWatch> watch(new EndWatch(client, reboots));
  EndWatch* self = watch.get();
  TRY_VOID(client.subscribe([self](const json& event) { self->on_event(event); },
                            [self] {
                              for (const auto& [domid, name] : self->awaited_) self->look(domid, name);
                            }));
  return watch;
}

Result<bool> EndWatch::wait() {
  if (!awaited_.empty()) fmt::print(stderr, "Waiting for {}\n", so_many_domains(awaited_.size()));
  TRY_VOID(client_.catch_signals());
  while (!awaited_.empty() && client_.interrupted() == 0) {
    if (!client_.control().is_connected()) TRY_VOID(client_.reconnect());
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

// It may have ended while no polisd could tell.
void EndWatch::look(DomId domid, const std::string& name) {
  client_.control().request({{"op", "domain"}, {"domid", domid}}, [this, domid, name](const Result<json>& answer) {
    if (!answer && answer.error().code == ENOENT) on_destroyed(domid, name);
    if (answer && answer->value("state", "") == "shutdown") on_shutdown(domid);
  });
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
  client_.control().request({{"op", "domain"}, {"name", name}}, [this, domid, name](const Result<json>& answer) {
    if (!answer && answer.error().code != ENOENT) return;  // polisd goes: look() asks the next one
    if (answer && answer->value("stage", "") == "creating") {
      const DomId successor = answer->value("domid", DomId{0});
      expect(successor);
      asked(successor, name);
    }
    end(domid);
  });
}

void EndWatch::end(DomId domid) {
  ended_.insert(domid);
  awaited_.erase(domid);
}

}  // namespace xenopolis::cli
