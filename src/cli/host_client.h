// A command's line to the host that is meant.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/signals.h"
#include "toolstack/control_client.h"
#include "xen_abi/xen.h"

namespace xenopolis::cli {

// "17" is a domid, as for xl, whatever domains are called; nothing when it is a name.
std::optional<uint32_t> as_domid(std::string_view text);

// The error as people want to read it: without the errno's text where the sentence says all.
std::string for_people(const Error& error);

class HostClient {
 public:
  // Waits some seconds for a polisd that is being started again. An error says what to do.
  static Result<std::unique_ptr<HostClient>> connect(const std::string& run_directory);

  const std::string& directory() const { return directory_; }
  EventLoop& loop() { return loop_; }
  // Of the polisd of the moment: reconnect() changes it.
  toolstack::ControlClient& control() { return *control_; }

  // To the polisd that has come, or comes soon, in place of one that is gone. Call it outside of what the loop calls.
  Status reconnect();
  // Tells the handler of everything that happens to domains, also when another polisd says so; and calls `reconnected`
  // when there is one, because between the two some of it went unseen.
  Status subscribe(std::function<void(const nlohmann::json& event)> handler, std::function<void()> reconnected);

  // For what may be asked twice: when polisd goes before it has answered, the next one is asked.
  Result<nlohmann::json> ask(const nlohmann::json& request);
  // Of a name or domid; a domid is taken as it is, 0 too. ENOENT with a complete sentence.
  Result<DomId> find(const std::string& domain);
  // The machine, mapped when it is first asked for.
  Result<machine::Machine*> machine();

  // From here on SIGINT and SIGTERM do not end the program but set interrupted(); the second one does end it.
  Status catch_signals();
  int interrupted() const { return interrupted_; }  // the signal, 0: none
  void forget_interruption() { interrupted_ = 0; }

  // Asks for `count` things, at most `window` at the same time, in order. `answered` may come in another order; when it
  // returns false, or after a signal (catch_signals() is called), no more are asked for, but those under way are waited
  // for. When polisd goes before it has answered, the next one is asked by `repeat`.
  struct Series {
    size_t count = 0;
    size_t window = 64;
    std::function<nlohmann::json(size_t index)> request;
    std::function<bool(size_t index, const Result<nlohmann::json>& answer)> answered;
    // Finds out whether the polisd that has gone has done what `request` asks, and else asks for it again. May be
    // called several times for an index. Empty: `request` again, of which nobody minds if it is done twice.
    std::function<void(size_t index, toolstack::ControlClient::Reply answer)> repeat;
    std::function<void()> tick;  // about ten times a second; empty: none
  };
  Status ask_series(const Series& series);
  // A Series::repeat for what is done when there is no such domain any more, or it does not run: `request` again.
  void request_unless_gone(nlohmann::json request, toolstack::ControlClient::Reply answer);

 private:
  // Says once that polisd keeps people waiting, and why if that can be seen.
  void look_for_silence(uint64_t answers);

  HostClient(std::string directory, EventLoop loop) : directory_(std::move(directory)), loop_(std::move(loop)) {}

  const std::string directory_;
  EventLoop loop_;
  std::unique_ptr<toolstack::ControlClient> control_;
  std::function<void(const nlohmann::json&)> on_event_;
  std::function<void()> reconnected_;
  std::optional<machine::Machine> machine_;
  std::optional<Signals> signals_;
  int interrupted_ = 0;
};

}  // namespace xenopolis::cli
