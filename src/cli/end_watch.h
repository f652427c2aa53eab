// Waiting for domains that were asked to end, and saying how they did.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "cli/host_client.h"

namespace xenopolis::cli {

class EndWatch {
 public:
  // What happens from here on is seen. `reboots`: who starts again is waited for until it has.
  static Result<std::unique_ptr<EndWatch>> start(HostClient& client, bool reboots);

  // It is about to be asked: events about it count.
  void expect(DomId domid) { expected_.insert(domid); }
  // It has been asked, and is waited for.
  void asked(DomId domid, const std::string& name) {
    if (!ended_.contains(domid)) awaited_.emplace(domid, name);
  }
  // Those that have not ended yet.
  size_t awaited() const { return awaited_.size(); }
  // Until all have. False: a signal came before (HostClient::catch_signals()).
  Result<bool> wait();

 private:
  EndWatch(HostClient& client, bool reboots) : client_(client), reboots_(reboots) {}
  void on_event(const nlohmann::json& event);
  void look(DomId domid, const std::string& name);
  void on_shutdown(DomId domid);
  void on_destroyed(DomId domid, const std::string& name);
  void end(DomId domid);

  HostClient& client_;
  const bool reboots_;
  std::set<DomId> expected_;
  std::map<DomId, std::string> awaited_;  // and their names
  std::set<DomId> ended_;
};

}  // namespace xenopolis::cli
