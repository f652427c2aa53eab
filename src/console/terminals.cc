#include "console/terminals.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/clock.h"

namespace xenopolis::console {
namespace {

constexpr uint64_t kNsPerMs = 1'000'000;

uint64_t now_ns() {
  return MonotonicClock().now_ns();
}

// Also a terminal that was never opened counts as one that was: only then its master shows that nobody has it open.
bool has_nobody(const Fd& master) {
  pollfd state{master.get(), 0, 0};
  return poll(&state, 1, 0) == 1 && (state.revents & POLLHUP) != 0;
}

}  // namespace

Terminals::Terminals(Server& server, EventLoop& loop, Tell tell, const TerminalTimes& times)
    : server_(server), loop_(loop), tell_(std::move(tell)), times_(times) {}

Terminals::~Terminals() {
  if (timer_ != 0) loop_.cancel(timer_);
  for (Terminal& terminal : terminals_) {
    leave_loop(terminal);
    if (terminal.console != nullptr) terminal.console->remove_viewer(*this);
  }
}

void Terminals::tell_opened(ConsoleId id, const std::string& path, int error) {
  ConsoleReply reply{ConsoleReplyKind::kTerminalOpened, id, error, {}};
  path.copy(reply.path, sizeof reply.path - 1);
  tell_(reply);
}

void Terminals::open(ConsoleId id) {
  Console* console = server_.find(id);
  if (console == nullptr) return tell_opened(id, "", ENOENT);
  const auto known = by_console_.find(console);
  if (known == by_console_.end()) {
    if (const Status made = make(*console); !made) return tell_opened(id, "", made.error().code);
  } else if (known->second->state != State::kOpen) {
    wait_for_opening(*known->second);
  }
  tell_opened(id, by_console_.at(console)->path, 0);
}

Status Terminals::make(Console& console) {
  if (terminals_.size() >= kMost) return fail(EMFILE, fmt::format("{} terminals", terminals_.size()));
  Fd master(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!master) return fail_errno("posix_openpt");
  std::array<char, sizeof ConsoleReply::path> path{};
  if (grantpt(master.get()) != 0 || unlockpt(master.get()) != 0) return fail_errno("unlockpt");
  if (ptsname_r(master.get(), path.data(), path.size()) != 0) return fail_errno("ptsname");
  // As xenconsoled has it: the guest's terminal driver does the rest.
  termios settings;
  if (tcgetattr(master.get(), &settings) != 0) return fail_errno("tcgetattr");
  cfmakeraw(&settings);
  if (tcsetattr(master.get(), TCSANOW, &settings) != 0) return fail_errno("tcsetattr");
  // Opened once: see has_nobody().
  if (!Fd(::open(path.data(), O_RDWR | O_NOCTTY | O_CLOEXEC)))
    return fail_errno(fmt::format("opening {}", path.data()));

  const auto terminal = terminals_.emplace(terminals_.end(), master.release(), path.data());
  terminal->console = &console;
  terminal->id = console.id();
  by_console_[&console] = terminal;
  console.add_viewer(*this);
  wait_for_opening(*terminal);
  return {};
}

void Terminals::wait_for_opening(Terminal& terminal) {
  terminal.state = State::kAwaited;
  terminal.deadline_ns = now_ns() + times_.first_open_ms * kNsPerMs;
  look_later();
}

void Terminals::look_later() {
  if (timer_ == 0) timer_ = loop_.at(now_ns() + times_.look_ms * kNsPerMs, [this] { look(); });
}

// At most kMost, all of which somebody has asked for lately.
void Terminals::look() {
  timer_ = 0;
  const uint64_t now = now_ns();
  bool is_to_be_looked_at = false;
  for (auto next = terminals_.begin(); next != terminals_.end();) {
    const Iterator terminal = next++;
    if (look_at(terminal, now)) is_to_be_looked_at |= terminal->state != State::kOpen;
  }
  if (is_to_be_looked_at) look_later();
}

bool Terminals::look_at(Iterator terminal, uint64_t now_ns) {
  if (terminal->state == State::kOpen) return true;
  const bool is_over = now_ns >= terminal->deadline_ns;
  // Of one who was there between two looks.
  while (terminal->state != State::kEnded && read_input(*terminal)) {
  }
  if (terminal->state == State::kEnded) {
    if (terminal->witness) {
      if (!is_read_out(*terminal, is_over)) return true;
      terminal->witness.reset();
      terminal->deadline_ns = now_ns + times_.name_ms * kNsPerMs;
      // Unless its successor has the name's place: then that was told at the end.
      if (server_.find(terminal->id) == nullptr) tell_({ConsoleReplyKind::kTerminalClosed, terminal->id, 0, {}});
      return true;
    }
    if (!is_over) return true;
  } else {
    if (!has_nobody(terminal->master)) {
      opened(terminal);
      return true;
    }
    if (!is_over) return true;
    if (terminal->state == State::kAwaited) {
      closed(*terminal);
      return true;
    }
    terminal->console->remove_viewer(*this);
    by_console_.erase(terminal->console);
  }
  leave_loop(*terminal);
  terminals_.erase(terminal);
  return false;
}

// Twice, as what has just been written takes a moment to be there to be read.
bool Terminals::is_read_out(Terminal& terminal, bool is_over) {
  int unread = 0;
  const bool is_empty = terminal.words.empty() && ioctl(terminal.witness.get(), FIONREAD, &unread) == 0 && unread == 0;
  terminal.looks_empty = is_empty ? terminal.looks_empty + 1 : 0;
  return is_over || terminal.looks_empty == 2;
}

void Terminals::opened(Iterator terminal) {
  // Somebody who had read its name before that was taken back.
  if (terminal->state == State::kClosed) tell_opened(terminal->console->id(), terminal->path, 0);
  terminal->state = State::kOpen;
  terminal->cursor = terminal->console->stream().last(kPastBytes);
  terminal->words.clear();
  terminal->past_end = terminal->console->stream().end();
  terminal->past.emplace();
  set_interest(terminal, !write_output(*terminal));
}

void Terminals::closed(Terminal& terminal) {
  leave_loop(terminal);
  terminal.state = State::kClosed;
  terminal.deadline_ns = now_ns() + times_.name_ms * kNsPerMs;
  tell_({ConsoleReplyKind::kTerminalClosed, terminal.console->id(), 0, {}});
  look_later();
}

void Terminals::on_event(Iterator terminal, uint32_t events) {
  if ((events & EPOLLIN) != 0 && terminal->state == State::kOpen) read_input(*terminal);
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    if (terminal->state == State::kOpen) {
      // What was typed before. If the guest has no room for all of it, the rest goes with the terminal.
      while (read_input(*terminal)) {
      }
      closed(*terminal);
    } else {
      leave_loop(*terminal);
    }
    return;
  }
  if (terminal->state == State::kEnded) {
    if (write_words(*terminal)) leave_loop(*terminal);
  } else {
    set_interest(terminal, !write_output(*terminal));
  }
}

// Not before the guest has taken what came before.
bool Terminals::read_input(Terminal& terminal) {
  if (!terminal.input.empty()) return false;
  std::array<char, kInputBytes> bytes;
  const ssize_t count = read(terminal.master.get(), bytes.data(), bytes.size());
  if (count <= 0) return false;
  terminal.input.assign(bytes.data(), static_cast<size_t>(count));
  feed(terminal);
  return true;
}

void Terminals::feed(Terminal& terminal) {
  if (terminal.input.empty()) return;
  terminal.input.erase(0, terminal.console->write(terminal.input, *this));
}

void Terminals::on_room(Console& console) {
  const auto terminal = by_console_.find(&console);
  if (terminal == by_console_.end()) return;
  feed(*terminal->second);
  if (terminal->second->interest != 0) {
    set_interest(terminal->second, (terminal->second->interest & EPOLLOUT) != 0);
  }
}

void Terminals::on_output(Console& console) {
  const auto found = by_console_.find(&console);
  if (found == by_console_.end() || found->second->state != State::kOpen) return;
  const bool is_full = (found->second->interest & EPOLLOUT) != 0;
  if (!is_full) set_interest(found->second, !write_output(*found->second));
}

bool Terminals::write_output(Terminal& terminal) {
  const Stream& stream = terminal.console->stream();
  for (size_t written = 0; written < kTurnBytes;) {
    if (!write_words(terminal)) return false;
    uint64_t missed = 0;
    const Piece piece = stream.next(terminal.cursor, missed);
    if (missed != 0) {
      // The piece comes again behind the mark.
      terminal.cursor.offset -= piece.text.size();
      terminal.words = fmt::format("\r\n[{} bytes dropped]\r\n", missed);
      continue;
    }
    if (piece.text.empty()) return true;
    if (terminal.past) {
      add_past(terminal, piece.text);
      written += piece.text.size();
      continue;
    }
    const ssize_t count = write(terminal.master.get(), piece.text.data(), piece.text.size());
    const size_t taken = count > 0 ? static_cast<size_t>(count) : 0;
    terminal.cursor.offset -= piece.text.size() - taken;
    if (taken < piece.text.size()) return false;
    written += taken;
  }
  return false;
}

void Terminals::add_past(Terminal& terminal, std::string_view piece) {
  const bool is_past = terminal.cursor.offset - piece.size() < terminal.past_end;
  if (is_past && terminal.cursor.offset > terminal.past_end) {
    piece.remove_suffix(terminal.cursor.offset - terminal.past_end);
    terminal.cursor.offset = terminal.past_end;
  }
  terminal.past->scan(piece, [&](TokenKind kind, std::string_view token) {
    if (!is_past || !asks_terminal(kind, token)) terminal.words += token;
  });
  // Not in the middle of a sequence: its beginning is the scanner's still.
  if (terminal.cursor.offset >= terminal.past_end && !terminal.past->is_inside()) terminal.past.reset();
}

bool Terminals::write_words(Terminal& terminal) {
  if (terminal.words.empty()) return true;
  const ssize_t count = write(terminal.master.get(), terminal.words.data(), terminal.words.size());
  if (count > 0) terminal.words.erase(0, static_cast<size_t>(count));
  return terminal.words.empty();
}

// Its stream goes too: what a reader who is slow has not seen yet is kept for him. Only when he has read it it is told
// that the terminal is gone, for xenconsole ends at once when its name is.
void Terminals::on_end(Console& console) {
  const auto found = by_console_.find(&console);
  if (found == by_console_.end()) return;
  const Iterator terminal = found->second;
  by_console_.erase(found);
  console.remove_viewer(*this);
  bool is_told = terminal->state == State::kAwaited;
  if (terminal->state == State::kOpen) {
    uint64_t missed = 0;
    while (terminal->words.size() < 2 * kTurnBytes) {
      const Piece piece = console.stream().next(terminal->cursor, missed);
      if (piece.text.empty()) break;
      if (missed != 0) terminal->words += fmt::format("\r\n[{} bytes dropped]\r\n", std::exchange(missed, 0));
      if (terminal->past) {
        add_past(*terminal, piece.text);
      } else {
        terminal->words += piece.text;
      }
    }
    terminal->deadline_ns = now_ns() + times_.last_words_ms * kNsPerMs;
    terminal->witness = Fd(::open(terminal->path.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    is_told = !terminal->witness;
  } else {
    terminal->deadline_ns = now_ns() + times_.name_ms * kNsPerMs;
  }
  terminal->console = nullptr;
  terminal->state = State::kEnded;
  terminal->input.clear();
  if (write_words(*terminal)) {
    leave_loop(*terminal);
  } else {
    set_interest(terminal, true);
  }
  look_later();
  if (is_told) tell_({ConsoleReplyKind::kTerminalClosed, console.id(), 0, {}});
}

// Level-triggered: what cannot be read or written now is not asked for. That everybody has left is always told.
void Terminals::set_interest(Iterator terminal, bool is_full) {
  const bool is_deaf = terminal->state == State::kEnded || !terminal->input.empty();
  const uint32_t wanted =
      EPOLLHUP | (is_deaf ? 0u : static_cast<uint32_t>(EPOLLIN)) | (is_full ? static_cast<uint32_t>(EPOLLOUT) : 0u);
  if (wanted == terminal->interest) return;
  const int fd = terminal->master.get();
  const Status set = terminal->interest != 0
                         ? loop_.modify(fd, wanted)
                         : loop_.add(fd, wanted, [this, terminal](uint32_t events) { on_event(terminal, events); });
  if (set) terminal->interest = wanted;
}

void Terminals::leave_loop(Terminal& terminal) {
  if (std::exchange(terminal.interest, 0u) != 0) loop_.remove(terminal.master.get());
}

}  // namespace xenopolis::console
