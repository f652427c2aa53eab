// The domains of an experiment and how far each has come.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "experiment/console_watch.h"
#include "experiment/options.h"
#include "experiment/pinger.h"
#include "experiment/private_host.h"
#include "experiment/results.h"

namespace xenopolis::experiment {

struct Subject {
  std::string name;
  DomId domid = 0;  // 0: not created yet
  uint64_t requested_ns = 0;
  uint64_t up_ns = 0;         // 0: not up
  bool console_seen = false;  // its line is in its console's log
  bool connected = false;     // data/state = running, and its channels are bound; citizens only
  bool failed = false;        // never came up
  bool ended = false;         // shut down, crashed or destroyed
};

// Creates the domains, `window` at a time, and sees them come up: each by its own console line and, for citizens, its
// own xenstore write.
class Fleet {
 public:
  // `image` is an absolute path. `citizens`: the guest is our citizen.
  static Result<std::unique_ptr<Fleet>> start(EventLoop& loop, PrivateHost& host, const Options& options,
                                              std::string image, bool citizens, std::string console_text,
                                              Results& results);

  // Nothing is under way any more: every domain is up, failed, or beyond the wall.
  bool settled() const { return in_flight_ == 0 && (next_ == subjects_.size() || stopped_); }
  // Creates no more domains.
  void stop_creating() { stopped_ = true; }
  // Those under way count as failed, `why`.
  void give_up(const std::string& why);

  const std::vector<Subject>& subjects() const { return subjects_; }
  Pinger* pinger() { return pinger_.get(); }
  uint32_t up() const { return up_; }
  uint32_t settled_count() const { return settled_count_; }
  // Up, and not ended since.
  uint32_t alive() const { return up_ - ended_after_up_; }
  uint32_t ended() const { return ended_; }
  uint32_t created() const { return created_; }
  uint64_t last_up_ns() const { return last_up_ns_; }
  uint64_t first_request_ns() const { return subjects_.empty() ? 0 : subjects_.front().requested_ns; }

  // Asks every living domain to power off: citizens through control/shutdown, `window` at a time; others are destroyed.
  void begin_shutdown();

 private:
  Fleet(EventLoop& loop, PrivateHost& host, const Options& options, std::string image, bool citizens,
        std::string console_text, Results& results);
  void create_more();
  void create(size_t index);
  void on_created(size_t index, const Result<nlohmann::json>& answer);
  void on_connected(DomId domid, const Status& status);
  void on_console_text(const std::string& name);
  void on_domain_event(const nlohmann::json& event);
  void check_up(Subject& subject);
  void fail_subject(Subject& subject, const std::string& why, bool is_wall);
  void shut_down_more();
  void problem(std::string text);

  EventLoop& loop_;
  PrivateHost& host_;
  const Options& options_;
  const std::string image_;
  const bool citizens_;
  const std::string console_text_;
  Results& results_;
  event::EventChannels events_;
  grant::GrantTables grants_;
  std::unique_ptr<Pinger> pinger_;
  std::unique_ptr<ConsoleWatch> consoles_;

  std::vector<Subject> subjects_;
  std::unordered_map<DomId, size_t> by_domid_;
  std::unordered_map<std::string, size_t> by_name_;
  size_t next_ = 0;
  uint32_t in_flight_ = 0;
  bool stopped_ = false;
  uint32_t created_ = 0;
  uint32_t up_ = 0;
  uint32_t settled_count_ = 0;
  uint32_t ended_ = 0;
  uint32_t ended_after_up_ = 0;
  uint64_t last_up_ns_ = 0;
  bool shutting_down_ = false;
  size_t next_shutdown_ = 0;
  uint32_t shutdowns_under_way_ = 0;
};

}  // namespace xenopolis::experiment
