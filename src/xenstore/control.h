// CONTROL: what the operator asks with xenstore-control. Commands, answers and errors are those of Xen's C xenstored;
// "domain-shutdown" is ours.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "xenstore/error.h"
#include "xenstore/quota.h"

namespace xenopolis::xenstore {

class Server;

class Control {
 public:
  using Arguments = std::span<const std::string_view>;
  using Answer = XsResult<std::string>;  // a text for people, without a nul
  using LiveUpdate = std::function<Answer(Arguments)>;

  explicit Control(Server& server) : server_(server) {}

  // The payload "<command>|[<parameters>|]". kInval: no such command, or not with such parameters.
  Answer run(std::string_view payload);

  // "live-update" is answered by `live_update`, with the parameters that follow the word; kNoSys without one.
  void on_live_update(LiveUpdate live_update) { live_update_ = std::move(live_update); }
  // Where files lie that are named by a relative path.
  void set_directory(std::string directory) { directory_ = std::move(directory); }

 private:
  using Command = Answer (Control::*)(Arguments);
  struct Entry {
    std::string_view name;
    Command command;
    std::string_view parameters;
  };
  static std::span<const Entry> entries();

  Answer check(Arguments arguments);
  Answer log(Arguments arguments);
  Answer live_update(Arguments arguments);
  Answer logfile(Arguments arguments);
  Answer memreport(Arguments arguments);
  Answer print(Arguments arguments);
  Answer quota(Arguments arguments);
  Answer quota_soft(Arguments arguments);
  Answer domain_shutdown(Arguments arguments);
  Answer help(Arguments arguments);

  Answer show_quotas(bool soft) const;
  Answer set_quota(Arguments arguments, bool soft);
  Answer show_domain(std::string_view text) const;
  Answer show_maxima(Arguments arguments);
  std::string absolute(std::string_view file) const;

  Server& server_;
  LiveUpdate live_update_;
  std::string directory_ = "/tmp";
};

}  // namespace xenopolis::xenstore
