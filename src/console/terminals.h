// Terminals (ptys) of consoles, for clients that know nothing of us: xenconsole opens what xenstore names. There is one
// when somebody asked for it, until nobody has it open.
//
// A pty tells its master when the last one has closed it, but not when the first one opens it. So a terminal that
// nobody has open is looked at every `look_ms`, and only then: for `first_open_ms` after it was asked for, and for
// `name_ms` after it was closed. Until then its name, which is a small number, is given to nobody else: somebody may
// just have read it, and would talk to another console.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/event_loop.h"
#include "base/fd.h"
#include "console/client_escapes.h"
#include "console/server.h"

namespace xenopolis::console {

struct TerminalTimes {
  uint32_t look_ms = 20;
  uint32_t first_open_ms = 5'000;  // as long as xenconsole waits for a name
  uint32_t name_ms = 1'000;
  uint32_t last_words_ms = 2'000;  // what a guest wrote before it ended stays to be read for so long
};

class Terminals final : public Viewer {
 public:
  using Tell = std::function<void(const ConsoleReply&)>;

  static constexpr size_t kMost = 1024;              // of the host's (/proc/sys/kernel/pty/max)
  static constexpr uint64_t kPastBytes = 16 * 1024;  // of what has been written that whoever opens it sees
  static constexpr size_t kInputBytes = 4 * 1024;    // taken before the guest has read it
  static constexpr size_t kTurnBytes = 64 * 1024;    // written at once

  // `tell` takes kTerminalOpened and kTerminalClosed. All must outlive the object.
  Terminals(Server& server, EventLoop& loop, Tell tell, const TerminalTimes& times = {});
  ~Terminals() override;
  Terminals(const Terminals&) = delete;
  Terminals& operator=(const Terminals&) = delete;

  // Tells the path of the console's terminal, or why there is none: ENOENT: no such console; EMFILE: kMost are there;
  // what making a pty answers.
  void open(ConsoleId id);

  size_t count() const { return terminals_.size(); }

  void on_output(Console& console) override;
  void on_room(Console& console) override;
  void on_end(Console& console) override;

 private:
  enum class State {
    kAwaited,  // its name is told; nobody has it open
    kOpen,     // somebody has
    kClosed,   // nobody has it open any more, and its name is taken back
    kEnded,    // its console is gone; who has it open may read what there is
  };
  struct Terminal {
    Terminal(int fd, std::string its_path) : master(fd), path(std::move(its_path)) {}
    Fd master;
    std::string path;
    State state = State::kAwaited;
    uint64_t deadline_ns = 0;    // but for kOpen
    Console* console = nullptr;  // but for kEnded
    ConsoleId id;
    Fd witness;                // kEnded: shows what has not been read, until all has been
    uint32_t looks_empty = 0;  // in a row, at which that was nothing
    Cursor cursor;             // what it has been told
    std::string words;         // before what stands at the cursor
    // While the cursor is in what was written before it was opened.
    std::optional<EscapeScanner> past;
    uint64_t past_end = 0;
    std::string input;      // what the guest has no room for
    uint32_t interest = 0;  // 0: not in the loop
  };
  using Iterator = std::list<Terminal>::iterator;

  Status make(Console& console);
  void tell_opened(ConsoleId id, const std::string& path, int error);
  void wait_for_opening(Terminal& terminal);
  // kEnded: whoever has it open has read all, or has had the time to.
  bool is_read_out(Terminal& terminal, bool is_over);
  void look_later();
  void look();
  // False: it has gone.
  bool look_at(Iterator terminal, uint64_t now_ns);
  void opened(Iterator terminal);
  void closed(Terminal& terminal);
  void on_event(Iterator terminal, uint32_t events);
  // False: there is nothing, or it has to wait.
  bool read_input(Terminal& terminal);
  void feed(Terminal& terminal);
  // True: all has been written.
  bool write_output(Terminal& terminal);
  bool write_words(Terminal& terminal);
  // The past as words: the piece, but for what a terminal would answer, as if that had been typed. Moves the cursor
  // back to the past's end.
  static void add_past(Terminal& terminal, std::string_view piece);
  void set_interest(Iterator terminal, bool is_full);
  void leave_loop(Terminal& terminal);

  Server& server_;
  EventLoop& loop_;
  Tell tell_;
  const TerminalTimes times_;
  std::list<Terminal> terminals_;
  std::unordered_map<const Console*, Iterator> by_console_;
  EventLoop::TimerId timer_ = 0;  // while one is to be looked at
};

}  // namespace xenopolis::console
