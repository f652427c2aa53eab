// A guest that uses its xenstore ring as Linux does, many requests at random, and knows what every reply must be.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "event/event_channels.h"
#include "xen_abi/xenstore.h"

namespace xenopolis {

// What went wrong, from whichever thread.
class Complaints {
 public:
  void add(std::string text) {
    const std::lock_guard lock(mutex_);
    if (first_.size() < 20) first_.push_back(std::move(text));
    ++count_;
  }
  size_t count() const { return count_; }
  const std::vector<std::string>& first() const { return first_; }

 private:
  std::mutex mutex_;
  std::vector<std::string> first_;
  std::atomic<size_t> count_ = 0;
};

inline constexpr unsigned kSharedCounters = 50;
// Of a guest.
inline std::string shared_counter(DomId domid) {
  return "/shared/counter" + std::to_string(domid % kSharedCounters);
}

// What all guests and the test share.
struct CrashScene {
  event::EventChannels& channels;
  Complaints complaints;
  std::atomic<unsigned> kills = 0;
  std::atomic<bool> is_draining = false;                         // guests begin nothing new
  std::array<std::atomic<uint64_t>, kSharedCounters> commits{};  // of the counters that guests share
  std::atomic<uint64_t> refusals = 0;
  std::atomic<uint64_t> replies = 0;
  std::atomic<uint64_t> events = 0;
  std::atomic<uint64_t> lost_transactions = 0;
};

inline constexpr char kSharedFlag[] = "/shared/flag";
// Nobody but Dom0 may make it.
inline constexpr char kForbidden[] = "/shared/forbidden";

// Belongs to one thread at a time. Requests of one guest are handled in order, and each once: so all replies are known
// when a request is made, except of transactions that a kill may have ended.
class CrashGuest {
 public:
  CrashGuest(CrashScene& scene, DomId domid, Port port, xenstore_domain_interface& page, uint64_t& pending_ports,
             bool may_share);

  // One turn; true if it did anything. Looks at its ring only after an event, or while it finds something to do there.
  bool step(std::mt19937& random);
  // A new domain of this number: the page and all it knew is gone.
  void restart();

  // Nothing is under way, and every change that it watches has been heard.
  bool is_quiet() const;
  // Why not.
  std::string state() const;
  // For the last check of watches: changes its counter once more, whatever else is said.
  void change_counter() { is_last_change_due_ = true; }
  bool watches_flag() const { return flag_watch_.has_value(); }
  const std::string& last_flag() const { return last_flag_; }
  DomId domid() const { return domid_; }

  // What Dom0 must read: path (within the guest's home) and value, nothing if it must not exist.
  std::vector<std::pair<std::string, std::optional<std::string>>> expected() const;

 private:
  struct Awaited {
    uint32_t type;
    uint32_t req_id;
    uint32_t tx_id;
    std::function<void(bool is_error, std::string_view payload)> check;
  };
  struct Watch {
    bool is_due = false;      // a change was made, and no event heard since then
    bool is_leaving = false;  // UNWATCH is under way
  };
  struct OwnTransaction {
    uint32_t id = 0;
    unsigned kills = 0;  // that had been when it was asked for
    bool is_shared = false;
    std::string counter;
    std::map<std::string, std::optional<std::string>> changes;
  };

  void complain(const std::string& what) const;
  void ask(uint32_t type, const std::string& payload, std::function<void(bool, std::string_view)> check,
           uint32_t tx_id = 0);
  void expect(uint32_t type, const std::string& payload, const std::string& reply, uint32_t tx_id = 0);
  void expect_error(uint32_t type, const std::string& payload, const std::string& error, uint32_t tx_id = 0);

  void think(std::mt19937& random);
  void write_counter();
  void change_children(std::mt19937& random);
  void change_perms(std::mt19937& random);
  void change_watches(std::mt19937& random);
  void read_back(std::mt19937& random);
  void begin_transaction(std::mt19937& random);
  void go_on_in_transaction(const std::string& shared_value);
  void end_transaction();
  void finished(bool is_error, std::string_view payload);
  void set(const std::string& node, std::optional<std::string> value);

  bool put(std::mt19937& random);
  bool take(std::mt19937& random);
  void hear(const xsd_sockmsg& header, std::string_view payload);
  void hear_event(std::string_view payload);
  void notify();

  CrashScene& scene_;
  const DomId domid_;
  const Port port_;
  xenstore_domain_interface& page_;
  uint64_t& pending_ports_;  // of its shared_info
  const bool may_share_;     // takes part in the counter of all

  bool is_awake_ = true;  // an event has come, or there was something to do
  std::string output_, input_;
  std::deque<Awaited> awaited_;
  uint32_t next_req_id_ = 1;
  uint32_t answered_ = 0;  // req_id

  uint64_t counter_ = 0;
  std::map<std::string, std::optional<std::string>> nodes_;  // counter, big, tx, dir/0..3
  std::string perms_;
  std::map<std::string, Watch> watches_;   // of the counter, by token
  std::optional<std::string> flag_watch_;  // token
  bool is_flag_watch_leaving_ = false;
  bool is_reading_flag_ = false;
  bool is_flag_read_due_ = false;
  std::string last_flag_;
  unsigned next_token_ = 0;
  std::optional<OwnTransaction> transaction_;
  bool shall_try_again_ = false;  // with the counter of all
  bool is_last_change_due_ = false;
  // Watches whose event must come after the reply to the request before a change.
  std::vector<std::pair<uint32_t, std::string>> due_after_;
};

}  // namespace xenopolis
