// What a client sees: one console, or all; as frames (client_protocol.h), as many as he reads.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/fd.h"
#include "console/client_protocol.h"
#include "console/server.h"

namespace xenopolis::console {

inline uint32_t key_of(ConsoleId id) {
  return uint32_t{id.domid} << 16 | id.index;
}

// Bytes on their way to a client.
class Output {
 public:
  // So much is made ready for sending, no more than a frame beyond it. Only ends of consoles come besides.
  static constexpr size_t kBytes = 64 * 1024;
  // Who leaves so many unread while consoles end is let go.
  static constexpr size_t kMost = 4 * 1024 * 1024;

  void line(std::string_view text) { bytes_.append(text); }
  void frame(FrameHeader header, std::string_view payload = {}) { append_frame(bytes_, header, payload); }

  size_t pending() const { return bytes_.size() - sent_; }
  bool is_full() const { return pending() >= kBytes; }

  enum class Sent { kAll, kSome, kNobodyThere };
  Sent send_to(int socket);

 private:
  std::string bytes_;
  size_t sent_ = 0;
};

class OneConsole;

// Who writes to which console: one client each.
using Writers = std::unordered_map<uint32_t, OneConsole*>;  // by key_of()

class View : public Viewer {
 public:
  // `wake` is called when there is something to fill in, never from within fill().
  View(Output& output, std::function<void()> wake) : output_(output), wake_(std::move(wake)) {}

  // Appends to the output until it is full, or there is nothing more, or enough was done for one turn.
  virtual void fill() = 0;
  // fill() would do something, if the output is not full.
  virtual bool has_more() const = 0;
  // Nothing will come any more.
  bool is_over() const { return is_over_; }

  // What the client says. False: it must not say that.
  virtual bool input(std::string_view) { return false; }
  // It will say no more.
  virtual void end_input() {}
  virtual bool wants_input() const { return true; }

 protected:
  // What is between the cursor and `until`, or up to where the output has grown by `limit`.
  void show(const Console& console, Cursor& cursor, uint64_t until, size_t limit);

  Output& output_;
  std::function<void()> wake_;
  bool is_over_ = false;
};

class OneConsole final : public View {
 public:
  // What a client may have typed that its guest does not take.
  static constexpr size_t kTypedBytes = 4096;

  // `pid`: of the client, for others to know. All that is referred to must outlive the view.
  OneConsole(Console& console, const ClientRequest& request, pid_t pid, Writers& writers, Output& output,
             std::function<void()> wake);
  ~OneConsole() override;

  pid_t pid() const { return pid_; }
  void fill() override;
  bool has_more() const override;
  bool input(std::string_view text) override;
  void end_input() override;
  bool wants_input() const override { return typed_.size() < kTypedBytes; }

  void on_output(Console& console) override;
  void on_room(Console& console) override;
  void on_end(Console& console) override;

 private:
  void begin(const ClientRequest& request);
  OneConsole* writer() const;  // nullptr: nobody
  bool writes() const { return writer() == this; }
  void take_writing();
  void notice(std::string_view text);
  void pass_on_input();

  Console* console_;  // nullptr: it is gone
  const ConsoleId id_;
  const pid_t pid_;
  const bool wants_to_write_;
  const bool follows_;
  Writers& writers_;
  Cursor cursor_;
  uint64_t past_end_ = 0;
  bool is_live_ = false;
  std::string typed_;
  bool input_ended_ = false;
  bool was_told_that_it_reads_ = false;
};

class AllConsoles final : public View {
 public:
  // `now_ms`: since 1970.
  AllConsoles(Server& server, const ClientRequest& request, uint64_t now_ms, Output& output,
              std::function<void()> wake);
  ~AllConsoles() override;

  void fill() override;
  bool has_more() const override { return !past_.empty() || !is_live_ || !live_.empty(); }

  void on_output(Console& console) override;
  void on_end(Console& console) override;

 private:
  // Of one console before the next has its turn.
  static constexpr size_t kShare = 16 * 1024;
  // Consoles looked at in one turn.
  static constexpr unsigned kSteps = 256;

  struct Seen {
    Cursor cursor;
    uint64_t past_end = 0;
    bool is_wanted = true;
    bool is_begun = false;      // cursor and past_end are set
    bool is_announced = false;  // the client has its name
    bool is_queued = false;     // in live_
  };

  bool is_wanted(const Console& console) const;
  void begin(const Console& console, Seen& seen, uint64_t since_ms);
  void announce(const Console& console, Seen& seen);
  bool fill_past();
  bool fill_live();

  Server& server_;
  const ClientRequest request_;
  const uint64_t since_ms_;
  const uint64_t opened_ms_;
  std::unordered_map<uint32_t, Seen> seen_;
  std::deque<ConsoleId> past_;  // still to be visited
  std::deque<ConsoleId> live_;  // have written since
  bool is_live_ = false;
};

}  // namespace xenopolis::console
