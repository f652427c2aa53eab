#include "cli/console_command.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "base/clock.h"
#include "base/printable.h"
#include "cli/attach.h"
#include "cli/run_directory.h"
#include "cli/since.h"
#include "cli/terminal.h"
#include "console/client_escapes.h"

namespace xenopolis::cli {
namespace {

using console::FrameKind;

constexpr char kLeave = 0x1d;  // Ctrl-]
constexpr uint64_t kReconnectNs = 10'000'000'000;
constexpr int kReconnectPauseMs = 50;

class Attachment {
 public:
  Attachment(const ConsoleOptions& options, Signals signals, std::string directory)
      : options_(options), signals_(std::move(signals)), output_(signals_), directory_(std::move(directory)) {}

  // The exit status.
  Result<int> run();

 private:
  bool reads_only() const { return options_.replay || options_.follow; }
  Result<console::ClientRequest> make_request() const;
  Status attach();
  void greet();

  int timeout_ms() const;
  void wait();
  void on_signal(int signal);
  void read_input();
  void pass_on_input();
  void read_daemon();
  void handle(const console::Frame& frame);
  void show(std::string_view text);
  void write_output();
  void reconnect();
  void lose_line();
  void end(int status) { status_ = status; }
  // `polis console --follow | grep -m 1` has found its line.
  [[noreturn]] void end_without_reader();
  const char* line_end() const { return terminal_.is_raw() ? "\r\n" : "\n"; }
  // A line of our own on stderr.
  void say(std::string_view text);

  const ConsoleOptions& options_;
  Signals signals_;
  StandardOutput output_;
  RawTerminal terminal_;
  const std::string directory_;
  const MonotonicClock clock_;

  std::unique_ptr<console::ClientLine> line_;  // none: polis-consoled is gone, another is waited for
  uint64_t line_lost_ns_ = 0;
  std::string name_;
  uint32_t domid_ = 0;
  uint64_t next_offset_ = 0;  // of the stream
  bool is_live_ = false;

  bool reads_input_ = false;
  std::string typed_;      // not passed on yet
  std::string unwritten_;  // to stdout
  console::EscapeScanner scanner_;
  bool guest_returns_carriage_ = false;
  char last_shown_ = '\n';
  uint64_t quit_at_ns_ = 0;
  std::optional<int> status_;
  std::optional<Error> failure_;
};

Result<console::ClientRequest> Attachment::make_request() const {
  console::ClientRequest request;
  request.domain = options_.domain;
  request.console = options_.console;
  request.write = !reads_only();
  request.force = options_.force;
  request.follow = !options_.replay;
  if (!options_.since.empty()) {
    request.past = console::Past::kSince;
    request.since_ms = TRY(parse_since(options_.since, now_ms()));
  }
  return request;
}

Status Attachment::attach() {
  const console::ClientRequest request = TRY(make_request());
  line_ = TRY(attach_console(directory_, request));
  name_ = line_->answer().value("name", options_.domain);
  domid_ = line_->answer().value("domid", 0u);
  if (reads_only()) return {};
  const bool is_at_terminal = isatty(STDIN_FILENO) == 1;
  if (!line_->answer().value("writes", false) && !is_at_terminal) {
    return fail(0, fmt::format("process {} writes to the console of {} (--force takes its place, --follow reads)",
                               line_->answer().value("writer_pid", 0), name_));
  }
  reads_input_ = true;
  if (is_at_terminal) TRY_VOID(terminal_.enter());
  return {};
}

void Attachment::greet() {
  if (!terminal_.is_raw()) return;
  const std::string which = options_.console == 0 ? "" : fmt::format(", console {}", options_.console);
  say(fmt::format("{} (domain {}){}: Ctrl-] leaves", name_, domid_, which));
  if (!line_->answer().value("writes", false)) {
    say(fmt::format("process {} writes to this console: you only read (--force takes its place)",
                    line_->answer().value("writer_pid", 0)));
  }
}

void Attachment::say(std::string_view text) {
  fmt::print(stderr, "{}[{}]{}", last_shown_ == '\n' ? "" : line_end(), text, line_end());
  last_shown_ = '\n';
}

Result<int> Attachment::run() {
  TRY_VOID(attach());
  greet();
  if (options_.attached) {
    if (const Status done = options_.attached(); !done) failure_ = done.error();
  }
  while (!status_ && !failure_) {
    // What the answer brought along, too.
    if (line_ && unwritten_.empty()) {
      while (const auto frame = line_->next()) handle(*frame);
    }
    write_output();
    if (status_ || failure_) break;
    wait();
  }
  if (status_) write_output();
  terminal_.leave();
  if (failure_) return tl::make_unexpected(*failure_);
  return *status_;
}

int Attachment::timeout_ms() const {
  if (!line_) return kReconnectPauseMs;
  if (quit_at_ns_ == 0) return -1;
  const uint64_t now = clock_.now_ns();
  return now >= quit_at_ns_ ? 0 : static_cast<int>((quit_at_ns_ - now) / 1'000'000 + 1);
}

void Attachment::wait() {
  // With input that cannot be passed on a pipe waits; a person may always leave.
  const bool wants_input = reads_input_ && (terminal_.is_raw() || typed_.empty());
  // There may be more than was written: then only a signal brought us here.
  const int timeout = unwritten_.empty() ? timeout_ms() : 0;
  pollfd waits[] = {
      {signals_.fd(), POLLIN, 0},
      {wants_input ? STDIN_FILENO : -1, POLLIN, 0},
      {line_ ? line_->fd() : -1, static_cast<short>(POLLIN | (line_ && line_->has_output() ? POLLOUT : 0)), 0},
      output_.wait_for_end()};
  if (poll(waits, std::size(waits), timeout) < 0) return;
  if (waits[0].revents != 0) {
    while (const int signal = signals_.next()) on_signal(signal);
  }
  if ((waits[3].revents & (POLLERR | POLLHUP)) != 0) end_without_reader();
  if (waits[1].revents != 0) read_input();
  if (line_ && (waits[2].revents & POLLOUT) != 0) pass_on_input();
  if (line_ && (waits[2].revents & ~POLLOUT) != 0 && unwritten_.empty()) read_daemon();
  if (!line_ && !status_) reconnect();
  if (quit_at_ns_ != 0 && clock_.now_ns() >= quit_at_ns_) end(0);
}

void Attachment::end_without_reader() {
  terminal_.leave();
  die_of(SIGPIPE);
}

void Attachment::on_signal(int signal) {
  const bool was_raw = terminal_.is_raw();
  switch (signal) {
    case SIGTSTP:
      terminal_.leave();
      raise(SIGSTOP);
      [[fallthrough]];
    case SIGCONT:
      // The shell has made the terminal its own in between.
      if (was_raw) {
        terminal_.leave();
        if (const Status entered = terminal_.enter(); !entered) failure_ = entered.error();
      }
      break;
    default:
      terminal_.leave();
      die_of(signal);
  }
}

void Attachment::read_input() {
  std::array<char, 4096> bytes;
  const ssize_t count = read(STDIN_FILENO, bytes.data(), bytes.size());
  if (count < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (count <= 0) {
    reads_input_ = false;
    // A terminal that has gone.
    if (terminal_.is_raw()) return end(0);
    if (line_) pass_on_input();
    return;
  }
  std::string_view text(bytes.data(), static_cast<size_t>(count));
  if (terminal_.is_raw()) {
    const size_t leave = text.find(kLeave);
    if (leave != std::string_view::npos) {
      if (line_) {
        typed_.append(text.substr(0, leave));
        pass_on_input();
      }
      say("left");
      return end(0);
    }
    // Nobody takes it: it is not kept for ever.
    if (typed_.size() > bytes.size()) return;
  }
  typed_.append(text);
  if (line_) pass_on_input();
}

void Attachment::pass_on_input() {
  typed_.erase(0, line_->type(typed_));
  if (!reads_input_ && !reads_only() && typed_.empty() && !terminal_.is_raw()) line_->end_input();
  if (!line_->send()) lose_line();
}

void Attachment::read_daemon() {
  const bool is_there = line_->receive();
  while (const auto frame = line_->next()) handle(*frame);
  if (is_there || status_) return;
  if (options_.replay && is_live_) return end(0);
  lose_line();
}

void Attachment::lose_line() {
  line_.reset();
  line_lost_ns_ = clock_.now_ns();
}

void Attachment::handle(const console::Frame& frame) {
  switch (frame.header.kind) {
    case FrameKind::kText:
      next_offset_ = frame.header.offset + frame.payload.size();
      show(frame.payload);
      break;
    case FrameKind::kMissed:
      next_offset_ = frame.header.offset + frame.header.number;
      unwritten_ +=
          fmt::format("{}[{} bytes dropped]{}", last_shown_ == '\n' ? "" : line_end(), frame.header.number, line_end());
      last_shown_ = '\n';
      break;
    case FrameKind::kLive:
      is_live_ = true;
      if (options_.replay) end(0);
      break;
    case FrameKind::kEnd:
      write_output();
      if (isatty(STDERR_FILENO) == 1) say(fmt::format("{} has ended", name_));
      end(0);
      break;
    case FrameKind::kNotice:
      say(frame.payload);
      break;
    case FrameKind::kInputTaken:
      if (options_.quit_after_s) {
        quit_at_ns_ = clock_.now_ns() + std::max<uint64_t>(1, static_cast<uint64_t>(*options_.quit_after_s * 1e9));
      }
      break;
    default:
      break;
  }
}

void Attachment::show(std::string_view text) {
  if (text.empty()) return;
  if (!output_.is_terminal()) {
    unwritten_ += text;
  } else {
    // The terminal's answers would be typed into the guest, long after it has asked.
    const bool may_answer = is_live_ && terminal_.is_raw();
    scanner_.scan(text, [&](console::TokenKind kind, std::string_view token) {
      if (!may_answer && console::asks_terminal(kind, token)) return;
      if (kind == console::TokenKind::kControl && token.front() == '\r') guest_returns_carriage_ = true;
      // A raw terminal does only what it is told, and a guest that never returns the carriage does not know that.
      if (kind == console::TokenKind::kControl && token.front() == '\n' && terminal_.is_raw() &&
          !guest_returns_carriage_) {
        unwritten_ += '\r';
      }
      unwritten_ += token;
    });
  }
  last_shown_ = text.back();
}

void Attachment::write_output() {
  if (unwritten_.empty()) return;
  switch (output_.write(unwritten_)) {
    case StandardOutput::Written::kAll:
    case StandardOutput::Written::kSignalled:
      return;
    case StandardOutput::Written::kNobodyReads:
      end_without_reader();
    case StandardOutput::Written::kFailed:
      failure_ = system_error("writing the console's output");
  }
}

// To the next polis-consoled: streams are where they were. What was typed and not taken yet is lost.
void Attachment::reconnect() {
  auto request = make_request();
  if (!request) return;
  request->domain = name_;
  if (next_offset_ != 0) {
    request->past = console::Past::kFrom;
    request->from = next_offset_;
  }
  auto line = console::ClientLine::open(directory_ + "/console.sock", *request, 0);
  if (line && (*line)->answer().value("domid", 0u) == domid_) {
    line_ = *std::move(line);
    if (!reads_only()) pass_on_input();
    return;
  }
  const uint64_t lost_ns = clock_.now_ns() - line_lost_ns_;
  if (is_host_over(directory_, lost_ns)) {
    say("the host has ended");
    return end(0);
  }
  if (lost_ns < kReconnectNs) return;
  failure_ = line ? Error{0, fmt::format("the console of {} is gone", name_)} : line.error();
}

}  // namespace

int run_console(const ConsoleOptions& options) {
  const auto complain = [](const Error& error) {
    fmt::print(stderr, "polis console: {}\n", printable_lines(error.message()));
    return 1;
  };
  auto signals = take_over_signals();
  if (!signals) return complain(signals.error());
  Attachment attachment(options, *std::move(signals), options.run_directory);
  const Result<int> status = attachment.run();
  return status ? *status : complain(status.error());
}

}  // namespace xenopolis::cli
