#include "console/testing/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/testing/input.h"
#include "console/server.h"
#include "console/testing/fake_guest.h"
#include "console/testing/memory_file.h"
#include "console/testing/text.h"

namespace xenopolis::console {
namespace {

constexpr std::array<ConsoleId, 5> kConsoles{{{1, 0}, {1, 1}, {2, 0}, {3, 0}, {3, 7}}};
// Whatever they write, the others' text must be whole. The last one may be hostile.
constexpr unsigned kHostile = kConsoles.size() - 1;
constexpr HistoryLimits kLimits{.console_bytes = 8 * 1024, .total_bytes = 20 * 1024};
constexpr unsigned kMostTurns = 10'000;

// One end of a console, from its guest to its viewers.
struct Line {
  bool is_attached = false;
  bool is_spoiled = false;  // its guest has lied: only that it harms nobody else is known
  uint64_t incarnation = 0;
  uint32_t text = 0;       // which
  uint64_t written = 0;    // into the ring
  std::string input;       // that the ring has taken
  std::string input_read;  // by the guest
};

class Session {
 public:
  Session(std::span<const uint8_t> bytes, SessionCounts& counts) : input_(bytes), counts_(counts) {}

  std::string play() {
    memory_ = memory_file();
    start();
    for (unsigned i = 0; i < kConsoles.size(); ++i) reboot(i);
    while (!input_.empty() && fault_.empty()) step();
    finish();
    server_.reset();
    return fault_;
  }

 private:
  template <class... Args>
  void complain(fmt::format_string<Args...> format, Args&&... args) {
    if (fault_.empty()) fault_ = fmt::format(format, std::forward<Args>(args)...);
  }

  // Looks at all consoles: at once, or when told to.
  class Watcher final : public Viewer {
   public:
    Watcher(Session& session, bool is_quick) : session_(session), is_quick_(is_quick) {}
    void on_output(Console& console) override {
      if (is_quick_) look(console, ~0u);
    }
    void on_end(Console& console) override {
      look(console, ~0u);
      Line& line = session_.line_of(console.id());
      if (!line.is_spoiled && console.stream().end() != line.written) {
        session_.complain("at its end, {} of {} bytes", console.stream().end(), line.written);
      }
      cursors_.erase(key(console));
    }
    void look(Console& console, unsigned pieces) {
      const Line& line = session_.line_of(console.id());
      Cursor& cursor = cursors_[key(console)];
      for (unsigned n = 0; n < pieces; ++n) {
        uint64_t missed = 0;
        const uint64_t before = cursor.offset;
        const Piece piece = console.stream().next(cursor, missed);
        if (is_quick_ && missed != 0) session_.complain("who looks at once misses {} bytes", missed);
        session_.counts_.missed_bytes += missed;
        if (cursor.offset != before + missed + piece.text.size()) session_.complain("the cursor is elsewhere");
        if (piece.text.empty()) return;
        if (line.is_spoiled) continue;
        if (cursor.offset > line.written) session_.complain("more than was written");
        const std::string fault = text_fault(line.text, before + missed, piece.text);
        if (!fault.empty()) session_.complain("{}", fault);
      }
    }

   private:
    static std::pair<DomId, uint16_t> key(const Console& console) { return {console.id().domid, console.id().index}; }
    Session& session_;
    const bool is_quick_;
    std::map<std::pair<DomId, uint16_t>, Cursor> cursors_;
  };

  Line& line_of(ConsoleId id) {
    return lines_[static_cast<size_t>(std::find(kConsoles.begin(), kConsoles.end(), id) - kConsoles.begin())];
  }
  FakeGuest& guest(unsigned i) { return link_.guest(kConsoles[i].domid, kConsoles[i].index); }
  void event(unsigned i) { server_->on_event(FakeLink::port_of(kConsoles[i])); }

  void step() {
    const unsigned i = input_.below(kConsoles.size());
    Line& line = lines_[i];
    switch (const unsigned operation = input_.below(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        write(i, input_.below(256) * (operation < 3 ? 1 : 12));
        if (operation != 0) event(i);
        break;
      case 5:
      case 6:
      case 7:
      case 8:
        turn();
        break;
      case 9:
      case 10:
        type(i, input_.below(256) * 6);
        break;
      case 11:
      case 12:
        line.input_read += guest(i).read(input_.below(256) * 6);
        event(i);
        break;
      case 13:
        if (Console* console = server_->find(kConsoles[i])) slow_.look(*console, input_.below(8));
        break;
      case 14:
        clock_.advance_ns(uint64_t{input_.below(256)} * 100'000);
        calendar_.advance_ns(uint64_t{input_.below(256)} * 100'000);
        break;
      case 15:
        die();
        break;
      case 16:
        if (input_.below(4) == 0) reboot(i);
        break;
      case 17:
        // What a new polisd asks for is there already; another domain's cannot be.
        if (!server_->attach(FakeLink::request(kConsoles[i], "again", line.incarnation))) complain("not attached");
        if (server_->attach(FakeLink::request(kConsoles[i], "another", line.incarnation + 1)))
          complain("attached twice");
        break;
      default:
        lie();
    }
    if (history_->bytes_held() > kLimits.total_bytes) complain("{} bytes held", history_->bytes_held());
  }

  void write(unsigned i, size_t bytes) {
    Line& line = lines_[i];
    const size_t count = guest(i).write(text_of(line.text, line.written, bytes));
    line.written += count;
    counts_.output_bytes += count;
  }
  void type(unsigned i, size_t bytes) {
    Line& line = lines_[i];
    Console* console = server_->find(kConsoles[i]);
    const std::string text = text_of(~line.text, line.input.size(), bytes);
    const size_t count = console->write(text, quick_);
    if (count > std::min<size_t>(bytes, kInputBytes)) complain("{} bytes of {} typed", count, bytes);
    line.input += text.substr(0, count);
    counts_.input_bytes += count;
    if (!line.is_spoiled && line.input.size() - line.input_read.size() > kInputBytes) complain("input on top of input");
  }
  void turn() {
    const uint64_t before = server_->bytes_taken();
    server_->run_turns();
    if (server_->bytes_taken() - before > kConsoles.size() * (Server::kTurnBytes + kOutputBytes)) {
      complain("a turn of {} bytes", server_->bytes_taken() - before);
    }
    ++counts_.turns;
  }
  // Anything anywhere in the page.
  void lie() {
    Line& line = lines_[kHostile];
    auto* words = reinterpret_cast<uint32_t*>(&guest(kHostile).page);
    constexpr unsigned kWords = sizeof(xencons_interface) / 4, kIndices = 4;
    const bool is_index = input_.below(4) != 0;
    uint32_t& word = words[is_index ? kWords - kIndices + input_.below(kIndices) : input_.below(256) * 3];
    const uint32_t value = input_.below(256) | input_.below(256) << 8;
    word = input_.below(2) == 0 ? word + value - 0x8000 : value << 16 | value;
    line.is_spoiled = true;
    ++counts_.wild;
    if (input_.below(2) == 0) event(kHostile);
  }

  void start() {
    history_ = History::open(same_file(memory_), kLimits).value();
    server_ = std::make_unique<Server>(link_, *history_, clock_, calendar_);
    for (Watcher* watcher : {&quick_, &slow_}) server_->add_viewer(*watcher);
  }
  void attach(unsigned i) {
    const Line& line = lines_[i];
    const Status attached = server_->attach(FakeLink::request(kConsoles[i], "guest", line.incarnation));
    if (!attached) complain("attaching {}: {}", i, attached.error().message());
  }
  // Another domain of that number, or another console of that one.
  void reboot(unsigned i) {
    if (lines_[i].is_attached) {
      server_->detach(kConsoles[i]);
      check_input(i);
    }
    guest(i).page = {};
    ++incarnations_;
    lines_[i] = {.is_attached = true,
                 .is_spoiled = false,
                 .incarnation = incarnations_,
                 .text = incarnations_ << 4 | i,
                 .written = 0,
                 .input = {},
                 .input_read = {}};
    attach(i);
    ++counts_.reboots;
  }
  // The old server and history go after all has been copied: what they do is not seen by anybody.
  void die() {
    Fd found = FileContents::of(memory_).make_file();
    std::array<xencons_interface, kConsoles.size()> pages;
    for (unsigned i = 0; i < pages.size(); ++i) pages[i] = guest(i).page;
    server_.reset();
    history_.reset();
    for (unsigned i = 0; i < pages.size(); ++i) guest(i).page = pages[i];
    memory_ = std::move(found);
    start();
    for (unsigned i = 0; i < kConsoles.size(); ++i) attach(i);
    ++counts_.deaths;
  }

  void check_input(unsigned i) {
    Line& line = lines_[i];
    if (line.is_spoiled) return;
    for (std::string read; !(read = guest(i).read()).empty();) line.input_read += read;
    if (line.input_read != line.input) complain("{} bytes typed, {} read", line.input.size(), line.input_read.size());
  }
  void finish() {
    for (unsigned i = 0; i < kConsoles.size(); ++i) event(i);
    for (unsigned turns = 0; server_->has_work() && fault_.empty(); ++turns) {
      if (turns == kMostTurns) return complain("it does not come to rest");
      turn();
    }
    for (unsigned i = 0; i < kConsoles.size() && fault_.empty(); ++i) {
      const Line& line = lines_[i];
      Console* console = server_->find(kConsoles[i]);
      if (!line.is_spoiled && console->stream().end() != line.written) {
        complain("{} of {} bytes of console {}", console->stream().end(), line.written, i);
      }
      check_input(i);
    }
  }

  xenopolis::testing::Input input_;
  SessionCounts& counts_;
  std::string fault_;
  FakeLink link_;
  ManualClock clock_, calendar_;
  Fd memory_;
  std::unique_ptr<History> history_;
  // They outlive daemons, as a log does by its position.
  Watcher quick_{*this, true}, slow_{*this, false};
  std::unique_ptr<Server> server_;
  std::array<Line, kConsoles.size()> lines_;
  uint32_t incarnations_ = 0;
};

}  // namespace

std::string play_session(std::span<const uint8_t> bytes, SessionCounts& counts) {
  return Session(bytes, counts).play();
}

}  // namespace xenopolis::console
