#include "cli/consoles_command.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <unordered_map>

#include "base/clock.h"
#include "cli/attach.h"
#include "cli/line_filter.h"
#include "cli/lines.h"
#include "cli/log_search.h"
#include "cli/run_directory.h"
#include "cli/since.h"
#include "cli/terminal.h"

namespace xenopolis::cli {
namespace {

using console::FrameKind;

constexpr uint64_t kReconnectNs = 10'000'000'000;
constexpr int kReconnectPauseMs = 50;
// Before a connection was lost: what had been written by then and not been sent. What comes again is known by its
// offset.
constexpr uint64_t kLookBackMs = 10'000;
// Of the past, to be put into order. What is more comes console by console.
constexpr size_t kMostHeldBytes = 256 * 1024 * 1024;

class Watch {
 public:
  Watch(const ConsolesOptions& options, Signals signals, LineFilter filter, uint64_t since_ms)
      : options_(options),
        directory_(options.run_directory),
        signals_(std::move(signals)),
        output_(signals_),
        filter_(std::move(filter)),
        since_ms_(since_ms) {}

  // Whether there were lines.
  Result<bool> run();

 private:
  struct Source {
    std::string label;
    Lines lines;
    uint64_t next_offset = 0;
  };
  struct Held {
    uint64_t time_ms;
    std::string text;
  };

  console::ClientRequest make_request() const;
  Status search_logs();
  Status follow();
  Status wait();
  Status reconnect();
  void handle(const console::Frame& frame);
  void on_text(Source& source, uint64_t offset, std::string_view text, uint64_t time_ms);
  void on_live();
  void print(const Source& source, std::string_view line, uint64_t time_ms);
  void emit(uint64_t time_ms, std::string text);
  void release();
  Status write_output();
  void check_signals();

  const ConsolesOptions& options_;
  const std::string directory_;
  Signals signals_;
  StandardOutput output_;
  const LineFilter filter_;
  const uint64_t since_ms_;  // 0: all of the past
  const MonotonicClock clock_;

  std::unique_ptr<console::ClientLine> line_;
  uint64_t line_lost_ns_ = 0;
  const uint64_t opened_ms_ = now_ms();
  uint64_t newest_ms_ = 0;
  std::unordered_map<uint32_t, Source> sources_;  // by console
  std::vector<Held> held_;
  size_t held_bytes_ = 0;
  bool is_live_ = false;  // in order from now on
  bool past_is_over_ = false;
  bool is_over_ = false;
  bool has_lines_ = false;
  std::string unwritten_;
};

console::ClientRequest Watch::make_request() const {
  console::ClientRequest request;
  request.op = console::ClientRequest::Op::kWatch;
  request.patterns = options_.patterns;
  request.follow = options_.tail;
  if (options_.logs || (options_.tail && options_.since.empty())) {
    request.past = console::Past::kNone;
  } else if (!options_.since.empty()) {
    request.past = console::Past::kSince;
    request.since_ms = since_ms_;
  }
  return request;
}

Result<bool> Watch::run() {
  if (!options_.logs || options_.tail) line_ = TRY(attach_console(directory_, make_request()));
  if (options_.logs) TRY_VOID(search_logs());
  if (line_) TRY_VOID(follow());
  release();
  TRY_VOID(write_output());
  return has_lines_;
}

Status Watch::search_logs() {
  for (const Log& log : TRY(find_logs(directory_ + "/console", options_.patterns))) {
    const Source source{log.source, {}, 0};
    TRY_VOID(read_log(
        log, since_ms_, [&](std::string_view line, uint64_t time_ms) { print(source, line, time_ms); },
        [&] {
          check_signals();
          return true;
        }));
    TRY_VOID(write_output());
  }
  return {};
}

Status Watch::follow() {
  while (!is_over_) {
    if (line_) {
      while (const auto frame = line_->next()) handle(*frame);
    }
    TRY_VOID(write_output());
    if (!is_over_) TRY_VOID(wait());
  }
  return {};
}

Status Watch::wait() {
  pollfd waits[] = {{signals_.fd(), POLLIN, 0}, {line_ ? line_->fd() : -1, POLLIN, 0}, output_.wait_for_end()};
  if (poll(waits, std::size(waits), line_ ? -1 : kReconnectPauseMs) < 0) return {};
  check_signals();
  if ((waits[2].revents & (POLLERR | POLLHUP)) != 0) die_of(SIGPIPE);
  if (!line_) return reconnect();
  if (waits[1].revents == 0 || line_->receive()) return {};
  while (const auto frame = line_->next()) handle(*frame);
  if (is_over_) return {};
  line_.reset();
  line_lost_ns_ = clock_.now_ns();
  return {};
}

Status Watch::reconnect() {
  console::ClientRequest request = make_request();
  if (past_is_over_) {
    const uint64_t begin_ms = options_.since.empty() ? opened_ms_ : since_ms_;
    request.past = console::Past::kSince;
    request.since_ms = std::max(begin_ms, newest_ms_ - std::min(newest_ms_, kLookBackMs));
  }
  auto line = console::ClientLine::open(directory_ + "/console.sock", request, 0);
  if (line) {
    line_ = *std::move(line);
    return {};
  }
  const uint64_t lost_ns = clock_.now_ns() - line_lost_ns_;
  if (is_host_over(directory_, lost_ns)) {
    fmt::print(stderr, "polis consoles: the host has ended\n");
    is_over_ = true;
  } else if (lost_ns >= kReconnectNs) {
    return tl::make_unexpected(line.error());
  }
  return {};
}

void Watch::check_signals() {
  while (const int signal = signals_.next()) {
    if (signal == SIGTSTP) {
      raise(SIGSTOP);
    } else if (signal != SIGCONT) {
      die_of(signal);
    }
  }
}

void Watch::handle(const console::Frame& frame) {
  const console::FrameHeader& header = frame.header;
  const uint32_t key = uint32_t{header.console.domid} << 16 | header.console.index;
  switch (header.kind) {
    case FrameKind::kConsole: {
      Source& source = sources_[key];
      std::string label(frame.payload);
      if (header.console.index != 0) label += fmt::format(":{}", header.console.index);
      if (source.label != label) source = Source{std::move(label), {}, 0};
      break;
    }
    case FrameKind::kText:
      on_text(sources_[key], header.offset, frame.payload, header.number);
      break;
    case FrameKind::kMissed: {
      Source& source = sources_[key];
      if (header.offset < source.next_offset) break;
      source.next_offset = header.offset + header.number;
      if (options_.grep.empty()) print(source, fmt::format("[{} bytes dropped]", header.number), newest_ms_);
      break;
    }
    case FrameKind::kEnd:
      if (const auto found = sources_.find(key); found != sources_.end()) {
        Source& source = found->second;
        source.lines.finish([&](std::string_view line, uint64_t time_ms) { print(source, line, time_ms); });
        sources_.erase(found);
      }
      break;
    case FrameKind::kLive:
      on_live();
      break;
    default:
      break;
  }
}

void Watch::on_text(Source& source, uint64_t offset, std::string_view text, uint64_t time_ms) {
  newest_ms_ = std::max(newest_ms_, time_ms);
  if (offset < source.next_offset) {
    text.remove_prefix(std::min<uint64_t>(text.size(), source.next_offset - offset));
    if (text.empty()) return;
  } else {
    source.next_offset = offset;
  }
  source.next_offset += text.size();
  source.lines.add(text, time_ms, [&](std::string_view line, uint64_t line_ms) { print(source, line, line_ms); });
}

void Watch::on_live() {
  past_is_over_ = true;
  if (!options_.tail) {
    for (auto& entry : sources_) {
      Source& source = entry.second;
      source.lines.finish([&](std::string_view line, uint64_t time_ms) { print(source, line, time_ms); });
    }
    is_over_ = true;
  }
  release();
}

void Watch::print(const Source& source, std::string_view line, uint64_t time_ms) {
  std::string text;
  if (filter_.print(source.label, line, time_ms, text)) emit(time_ms, std::move(text));
}

void Watch::emit(uint64_t time_ms, std::string text) {
  has_lines_ = true;
  if (is_live_) {
    unwritten_ += text;
    return;
  }
  held_bytes_ += sizeof(Held) + text.size();
  held_.push_back({time_ms, std::move(text)});
  if (held_bytes_ > kMostHeldBytes) release();
}

// The past of all consoles in the order in which it was written.
void Watch::release() {
  std::stable_sort(held_.begin(), held_.end(),
                   [](const Held& one, const Held& other) { return one.time_ms < other.time_ms; });
  for (const Held& line : held_) unwritten_ += line.text;
  held_ = {};
  is_live_ = true;
}

Status Watch::write_output() {
  while (!unwritten_.empty()) {
    switch (output_.write(unwritten_)) {
      case StandardOutput::Written::kAll:
        return {};
      case StandardOutput::Written::kSignalled:
        check_signals();
        break;
      case StandardOutput::Written::kNobodyReads:
        die_of(SIGPIPE);
      case StandardOutput::Written::kFailed:
        return fail_errno("writing lines");
    }
  }
  return {};
}

bool wants_colors(const std::string& option) {
  if (option != "auto") return option == "always";
  const char* no_color = getenv("NO_COLOR");
  return isatty(STDOUT_FILENO) == 1 && (no_color == nullptr || *no_color == 0);
}

Result<bool> watch(const ConsolesOptions& options) {
  const uint64_t since_ms = options.since.empty() ? 0 : TRY(parse_since(options.since, now_ms()));
  LineFilter filter = TRY(LineFilter::create(options, wants_colors(options.color)));
  Signals signals = TRY(take_over_signals());
  return Watch(options, std::move(signals), std::move(filter), since_ms).run();
}

}  // namespace

int run_consoles(const ConsolesOptions& options) {
  const Result<bool> found = watch(options);
  if (!found) {
    fmt::print(stderr, "polis consoles: {}\n", found.error().message());
    return 2;
  }
  return *found || options.grep.empty() ? 0 : 1;
}

}  // namespace xenopolis::cli
