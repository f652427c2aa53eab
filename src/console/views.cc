#include "console/views.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <limits>

namespace xenopolis::console {
namespace {

constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kNoLimit = std::numeric_limits<uint64_t>::max();

FrameHeader header_of(FrameKind kind, ConsoleId console, uint64_t offset = 0, uint64_t number = 0) {
  FrameHeader header{};
  header.kind = kind;
  header.console = console;
  header.offset = offset;
  header.number = number;
  return header;
}

}  // namespace

Output::Sent Output::send_to(int socket) {
  while (pending() != 0) {
    const ssize_t count = send(socket, bytes_.data() + sent_, pending(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno == EAGAIN ? Sent::kSome : Sent::kNobodyThere;
    sent_ += static_cast<size_t>(count);
  }
  // An idle client holds no memory.
  bytes_ = {};
  sent_ = 0;
  return Sent::kAll;
}

// Ends: each piece but the last has a byte at least, and no more is shown than there was at the beginning.
void View::show(const Console& console, Cursor& cursor, uint64_t until, size_t limit) {
  until = std::min(until, console.stream().end());
  const size_t enough = output_.pending() + std::min(limit, size_t{kMaxPayload} * 1024);
  while (cursor.offset < until && output_.pending() < enough) {
    const uint64_t from = cursor.offset;
    uint64_t missed = 0;
    const Piece piece = console.stream().next(cursor, missed);
    if (missed != 0) output_.frame(header_of(FrameKind::kMissed, console.id(), from, missed));
    if (piece.text.empty()) break;
    output_.frame(header_of(FrameKind::kText, console.id(), cursor.offset - piece.text.size(), piece.time_ms),
                  piece.text);
  }
}

// --- one

OneConsole::OneConsole(Console& console, const ClientRequest& request, pid_t pid, Writers& writers, Output& output,
                       std::function<void()> wake)
    : View(output, std::move(wake)),
      console_(&console),
      id_(console.id()),
      pid_(pid),
      wants_to_write_(request.write),
      follows_(request.follow),
      writers_(writers) {
  console.add_viewer(*this);
  begin(request);
  if (wants_to_write_ && (request.force || writer() == nullptr)) take_writing();
}

OneConsole::~OneConsole() {
  if (console_ != nullptr) console_->remove_viewer(*this);
  if (writes()) writers_.erase(key_of(id_));
}

void OneConsole::begin(const ClientRequest& request) {
  const Stream& stream = console_->stream();
  past_end_ = stream.end();
  switch (request.past) {
    case Past::kAll:
      cursor_.offset = stream.begin();
      break;
    case Past::kSince:
      cursor_ = stream.since(request.since_ms);
      break;
    case Past::kFrom:
      // Beyond the end: that was another domain's.
      cursor_.offset = request.from <= past_end_ ? request.from : stream.begin();
      break;
    case Past::kNone:
      cursor_.offset = past_end_;
      break;
  }
}

OneConsole* OneConsole::writer() const {
  const auto found = writers_.find(key_of(id_));
  return found == writers_.end() ? nullptr : found->second;
}

void OneConsole::take_writing() {
  OneConsole*& writer = writers_[key_of(id_)];
  if (writer != nullptr && writer != this) {
    writer->typed_.clear();
    writer->was_told_that_it_reads_ = true;
    writer->notice(fmt::format("process {} writes to this console now: you only read", pid_));
  }
  writer = this;
  was_told_that_it_reads_ = false;
}

void OneConsole::notice(std::string_view text) {
  output_.frame(header_of(FrameKind::kNotice, id_), text);
  wake_();
}

void OneConsole::fill() {
  if (console_ == nullptr || is_over_) return;
  if (!is_live_) {
    if (!output_.is_full()) show(*console_, cursor_, past_end_, Output::kBytes - output_.pending());
    if (cursor_.offset < past_end_) return;
    is_live_ = true;
    output_.frame(header_of(FrameKind::kLive, id_));
    is_over_ = !follows_;
    if (is_over_) return;
  }
  if (!output_.is_full()) show(*console_, cursor_, kNoLimit, Output::kBytes - output_.pending());
}

bool OneConsole::has_more() const {
  return console_ != nullptr && !is_over_ && (!is_live_ || cursor_.offset < console_->stream().end());
}

bool OneConsole::input(std::string_view text) {
  if (!wants_to_write_) return false;
  if (console_ == nullptr) return true;
  if (!writes()) {
    if (const OneConsole* const other = writer()) {
      if (!was_told_that_it_reads_)
        notice(fmt::format("process {} writes to this console: you only read", other->pid()));
      was_told_that_it_reads_ = true;
      return true;
    }
    take_writing();
  }
  typed_.append(text);
  pass_on_input();
  return true;
}

void OneConsole::end_input() {
  input_ended_ = true;
  pass_on_input();
}

void OneConsole::pass_on_input() {
  if (console_ != nullptr && !typed_.empty()) typed_.erase(0, console_->write(typed_, *this));
  if (!typed_.empty()) return;
  if (std::exchange(input_ended_, false)) {
    output_.frame(header_of(FrameKind::kInputTaken, id_));
    if (writes()) writers_.erase(key_of(id_));
  }
  wake_();
}

void OneConsole::on_output(Console&) {
  wake_();
}

void OneConsole::on_room(Console&) {
  pass_on_input();
}

// Bounded by what a stream holds.
void OneConsole::on_end(Console& console) {
  if (follows_) {
    show(console, cursor_, kNoLimit, kNoLimit);
  } else {
    show(console, cursor_, past_end_, kNoLimit);
  }
  if (!is_live_) output_.frame(header_of(FrameKind::kLive, id_));
  output_.frame(header_of(FrameKind::kEnd, id_));
  if (writes()) writers_.erase(key_of(id_));
  console_ = nullptr;
  typed_.clear();
  is_over_ = true;
  wake_();
}

// --- all

AllConsoles::AllConsoles(Server& server, const ClientRequest& request, uint64_t now_ms, Output& output,
                         std::function<void()> wake)
    : View(output, std::move(wake)),
      server_(server),
      request_(request),
      since_ms_(request.past == Past::kSince ? request.since_ms : kNever),
      opened_ms_(now_ms) {
  server_.for_each([this](Console& console) {
    Seen& seen = seen_[key_of(console.id())];
    seen.is_wanted = is_wanted(console);
    if (!seen.is_wanted) return;
    if (request_.past == Past::kNone) {
      begin(console, seen, since_ms_);
    } else {
      past_.push_back(console.id());
    }
  });
  std::sort(past_.begin(), past_.end(), [](ConsoleId one, ConsoleId other) { return key_of(one) < key_of(other); });
  server_.add_viewer(*this);
}

AllConsoles::~AllConsoles() {
  server_.remove_viewer(*this);
}

bool AllConsoles::is_wanted(const Console& console) const {
  if (request_.patterns.empty()) return true;
  const std::string domid = fmt::to_string(console.id().domid);
  return std::any_of(request_.patterns.begin(), request_.patterns.end(), [&](const std::string& pattern) {
    return pattern == domid || matches_glob(pattern, console.name());
  });
}

void AllConsoles::begin(const Console& console, Seen& seen, uint64_t since_ms) {
  seen.is_begun = true;
  const Stream& stream = console.stream();
  seen.past_end = stream.end();
  if (request_.past == Past::kAll) {
    seen.cursor.offset = stream.begin();
  } else if (since_ms != kNever) {
    seen.cursor = stream.since(since_ms);
  } else {
    seen.cursor.offset = seen.past_end;
  }
}

void AllConsoles::announce(const Console& console, Seen& seen) {
  if (std::exchange(seen.is_announced, true)) return;
  output_.frame(header_of(FrameKind::kConsole, console.id()), console.name());
}

// False: it is over.
bool AllConsoles::fill_past() {
  for (unsigned step = 0; step < kSteps && !past_.empty(); ++step) {
    if (output_.is_full()) return true;
    Console* const console = server_.find(past_.front());
    const auto found = seen_.find(key_of(past_.front()));
    if (console != nullptr && found != seen_.end()) {
      Seen& seen = found->second;
      if (!seen.is_begun) begin(*console, seen, since_ms_);
      if (seen.cursor.offset < seen.past_end) {
        announce(*console, seen);
        show(*console, seen.cursor, seen.past_end, Output::kBytes);
        if (seen.cursor.offset < seen.past_end) return true;
      }
    }
    past_.pop_front();
  }
  return !past_.empty();
}

bool AllConsoles::fill_live() {
  for (unsigned step = 0; step < kSteps && !live_.empty() && !output_.is_full(); ++step) {
    const ConsoleId id = live_.front();
    live_.pop_front();
    Console* const console = server_.find(id);
    const auto found = seen_.find(key_of(id));
    if (console == nullptr || found == seen_.end() || !found->second.is_queued) continue;
    Seen& seen = found->second;
    seen.is_queued = false;
    if (seen.cursor.offset >= console->stream().end()) continue;
    announce(*console, seen);
    show(*console, seen.cursor, kNoLimit, kShare);
    if (seen.cursor.offset < console->stream().end()) {
      seen.is_queued = true;
      live_.push_back(id);
    }
  }
  return !live_.empty();
}

void AllConsoles::fill() {
  if (is_over_) return;
  if (!past_.empty() && fill_past()) return;
  if (!is_live_) {
    is_live_ = true;
    output_.frame(header_of(FrameKind::kLive, {}));
    is_over_ = !request_.follow;
  }
  if (!is_over_) fill_live();
}

void AllConsoles::on_output(Console& console) {
  if (!request_.follow) return;
  const auto [found, is_new] = seen_.try_emplace(key_of(console.id()));
  Seen& seen = found->second;
  if (is_new) {
    seen.is_wanted = is_wanted(console);
    // It may be one that a predecessor knew: not all that it holds is new.
    if (seen.is_wanted) begin(console, seen, std::min(since_ms_, opened_ms_));
  }
  // Where the past was not looked at yet it will be shown with that.
  if (!seen.is_wanted || !seen.is_begun || std::exchange(seen.is_queued, true)) return;
  live_.push_back(console.id());
  wake_();
}

void AllConsoles::on_end(Console& console) {
  const auto found = seen_.find(key_of(console.id()));
  if (found == seen_.end()) return;
  Seen& seen = found->second;
  if (seen.is_wanted && !is_over_) {
    if (!seen.is_begun) begin(console, seen, since_ms_);
    const uint64_t until = request_.follow ? console.stream().end() : seen.past_end;
    if (seen.cursor.offset < until) announce(console, seen);
    show(console, seen.cursor, until, output_.pending() < Output::kMost / 4 ? kNoLimit : 0);
    if (seen.cursor.offset < until) {
      output_.frame(header_of(FrameKind::kMissed, console.id(), seen.cursor.offset, until - seen.cursor.offset));
    }
    if (seen.is_announced) output_.frame(header_of(FrameKind::kEnd, console.id()));
    wake_();
  }
  seen_.erase(found);
}

}  // namespace xenopolis::console
