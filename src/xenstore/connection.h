// One client: its stream of requests, its replies and events, its watches and transactions. Knows nothing of sockets
// and rings; these are transports.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "xenstore/ready_list.h"
#include "xenstore/transaction.h"
#include "xenstore/turns.h"
#include "xenstore/watch.h"
#include "xenstore/wire.h"

namespace xenopolis::xenstore {

// Requests handled for one client before others get their turn.
inline constexpr unsigned kRequestsPerTurn = 32;
// What a client may leave unread.
struct OutputLimits {
  size_t replies;  // with so many bytes it is not read from, until it reads; one reply may exceed them
  size_t events;   // with so many it gets no more single events, but one for each watch when it has read
};
inline constexpr OutputLimits kDom0OutputLimits{64 * 1024, 256 * 1024};
inline constexpr OutputLimits kGuestOutputLimits{16 * 1024, 32 * 1024};
// Input is taken while less than this is pending.
inline constexpr size_t kInputBytes = 16 * 1024;

class Connection;

class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  // Answers by connection.reply() or fail(), or has the request wait by connection.park(). `payload` is valid during
  // the call.
  virtual void handle(Connection& connection, const Header& header, std::string_view payload) = 0;
};

class Connection {
 public:
  // `transport` becomes ready when events arrive outside of its turn. All references must outlive the connection.
  Connection(RequestHandler& handler, WatchTrie& trie, ReadyList& ready, Transport& transport, const Subject& subject);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  Subject& subject() { return subject_; }
  const Subject& subject() const { return subject_; }

  // The transport's side.
  bool wants_input() const;
  void receive(std::string_view bytes) { input_.append(bytes); }
  // So many bytes at least are missing to the next request.
  size_t missing_input() const { return input_.missing_bytes(); }
  // What was received and is not handled yet.
  std::string_view unhandled_input() const { return input_.pending(); }
  // Handles at most `limit` requests. Afterwards has_work() says whether to come again at once.
  void process(unsigned limit);
  bool has_work() const { return !is_broken_ && !is_parked_ && !is_held_ && !is_output_full() && input_.has_message(); }
  // The client broke the protocol; its stream cannot be followed.
  bool is_broken() const { return is_broken_; }
  std::string_view output() const { return std::string_view(output_).substr(sent_); }
  void sent(size_t bytes);
  // Output of a predecessor: bytes of messages, the first perhaps without its beginning.
  void restore_output(std::string_view bytes) { output_.append(bytes); }
  void forget_output();
  // Fires all its watches once, as when they were set up.
  void fire_all_watches();

  // The handler's side.
  // With so many replies that the client has not taken it is not read from; 0: only bytes count.
  void limit_unread_replies(uint32_t count) { unread_replies_max_ = count; }
  uint32_t unread_replies() const { return unread_replies_; }
  void reply(const Header& request, std::initializer_list<std::string_view> payload);
  void fail(const Header& request, XsError error);
  // Instead of an answer: the request stays where it is, and nothing is handled, until resume(). Then it comes again.
  void park() { is_parked_ = true; }
  void resume();
  bool is_parked() const { return is_parked_; }
  // After an answer: nothing more is handled until resume().
  void hold() { is_held_ = true; }
  // What the connection waits for, or is preferred in; mostly nothing. Belongs to Turns.
  std::unique_ptr<Contender>& contender() { return contender_; }

  void add_progress(Journal& journal) { transport_.add_progress(journal); }

  // Watches. `path` is canonical; a path and token that the client does not watch yet.
  void add_watch(std::string_view path, std::string_view token, size_t relative_bytes, uint32_t depth = kAnyDepth);
  bool has_watch(std::string_view path, std::string_view token) const;
  bool remove_watch(std::string_view path, std::string_view token);
  size_t watch_count() const { return watches_.size(); }
  size_t watch_bytes() const { return watch_bytes_; }  // of paths and tokens
  template <class Visitor>
  void for_each_watch(Visitor&& visit) const {
    for (const auto& [key, watch] : watches_) visit(std::as_const(*watch));
  }
  // Sends or remembers a WATCH_EVENT.
  void fire(Watch& watch, std::string_view path);

  // Transactions, by their number, never 0.
  uint32_t add_transaction(std::unique_ptr<Transaction> transaction);
  // One that a predecessor had begun.
  void add_lost_transaction(uint32_t id, std::unique_ptr<Transaction> transaction);
  Transaction* find_transaction(uint32_t id);
  template <class Visitor>
  void for_each_transaction(Visitor&& visit) const {  // by their numbers
    for (const auto& [id, transaction] : transactions_) visit(id);
  }
  std::unique_ptr<Transaction> take_transaction(uint32_t id);
  size_t transaction_count() const { return transactions_.size(); }

  // RESET_WATCHES: watches and transactions go.
  void reset();
  // All of reset(), and input and output: as if newly connected.
  void restart();

 private:
  size_t unread_bytes() const { return output_.size() - sent_; }
  bool is_output_full() const {
    return unread_bytes() >= limits_.replies || (unread_replies_max_ != 0 && unread_replies_ >= unread_replies_max_);
  }
  void append_event(const Watch& watch, std::string_view path);
  void send_overflowed_events();

  RequestHandler& handler_;
  WatchTrie& trie_;
  ReadyList& ready_;
  Transport& transport_;
  Subject subject_;
  const OutputLimits limits_;

  MessageReader input_;
  std::string output_;
  size_t sent_ = 0;
  uint32_t unread_replies_ = 0;  // since the client had taken everything
  uint32_t unread_replies_max_ = 0;
  bool is_broken_ = false;
  bool is_parked_ = false;
  bool is_held_ = false;
  std::unique_ptr<Contender> contender_;

  StringMap<std::unique_ptr<Watch>> watches_;  // by path, nul, token
  size_t watch_bytes_ = 0;
  std::vector<Watch*> overflowed_;  // each once
  std::unordered_map<uint32_t, std::unique_ptr<Transaction>> transactions_;
  uint32_t next_transaction_ = 1;
};

}  // namespace xenopolis::xenstore
