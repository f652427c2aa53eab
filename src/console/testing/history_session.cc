#include "console/testing/history_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/testing/input.h"
#include "console/history.h"
#include "console/testing/memory_file.h"
#include "console/testing/text.h"

namespace xenopolis::console {
namespace {

constexpr unsigned kConsoles = 5;
constexpr unsigned kReaders = 3;  // of each console
// Few blocks: a console has eight of them, and three such consoles all there are.
constexpr HistoryLimits kLimits{.console_bytes = 8 * 1024, .total_bytes = 24 * 1024};

struct Chunk {
  uint64_t end;
  uint64_t time_ms;
};

// What is known of one stream.
struct Expected {
  std::optional<Stream> stream;
  uint64_t incarnation = 0;
  uint32_t text = 0;  // which
  std::vector<Chunk> chunks;
  uint64_t end = 0;
  uint64_t begin = 0;  // was never further than the real one
  uint32_t ring_index = 0;
  LogPosition log;
  std::array<Cursor, kReaders> readers{};

  uint64_t time_of(uint64_t offset) const {
    const auto chunk = std::upper_bound(chunks.begin(), chunks.end(), offset,
                                        [](uint64_t at, const Chunk& candidate) { return at < candidate.end; });
    return chunk->time_ms;
  }
};

bool operator==(const LogPosition& a, const LogPosition& b) {
  return a.logged == b.logged && a.file_bytes == b.file_bytes && a.dropped == b.dropped &&
         a.at_line_start == b.at_line_start;
}

class Session {
 public:
  Session(std::span<const uint8_t> bytes, HistoryCounts& counts) : input_(bytes), counts_(counts) {}

  std::string play() {
    is_clock_good_ = input_.below(4) != 0;
    if (!open(memory_file())) return fault_;
    while (!input_.empty() && fault_.empty()) step();
    for (unsigned i = 0; i < kConsoles && fault_.empty(); ++i) {
      if (consoles_[i].stream) read(i, 0, ~0u);
    }
    return fault_;
  }

 private:
  template <class... Args>
  void complain(fmt::format_string<Args...> format, Args&&... args) {
    if (fault_.empty()) fault_ = fmt::format(format, std::forward<Args>(args)...);
  }

  bool open(Fd memory) {
    auto opened = History::open(same_file(memory), kLimits);
    if (!opened) {
      complain("opening: {}", opened.error().message());
      return false;
    }
    memory_ = std::move(memory);
    history_ = std::move(*opened);
    return true;
  }

  void step() {
    const unsigned i = input_.below(kConsoles);
    Expected& console = consoles_[i];
    const unsigned operation = input_.below(24);
    if (!console.stream) return attach(i, true);
    if (operation < 10) {
      append(i);
    } else if (operation < 16) {
      read(i, input_.below(kReaders), input_.below(6));
    } else if (operation == 16) {
      seek_time(i);
    } else if (operation == 17) {
      seek_back(i);
    } else if (operation == 18) {
      console.readers[input_.below(kReaders)] = Cursor{};
    } else if (operation == 19) {
      forget(i);
    } else if (operation == 20) {
      attach(i, input_.below(2) == 0);
    } else if (operation == 21) {
      die();
    } else if (operation == 22) {
      console.log = {console.end, input_.below(256), input_.below(256), input_.below(2), 0};
      console.stream->set_log_position(console.log);
    } else {
      console.ring_index = input_.below(256) << 24;
      console.stream->set_ring_index(console.ring_index);
    }
    look_at_all();
  }

  void append(unsigned i) {
    Expected& console = consoles_[i];
    const unsigned kind = input_.below(8);
    const unsigned scale = kind < 4 ? 1 : kind < 7 ? 8 : 16;
    const size_t size = std::min<size_t>(input_.below(256) * scale, kLimits.console_bytes / 2);
    if (is_clock_good_ || input_.below(2) == 0) {
      now_ms_ += input_.below(4);
    } else {
      now_ms_ -= input_.below(4) * 1000;
    }
    const std::string text = text_of(console.text, console.end, size);
    console.stream->append(text, now_ms_);
    console.ring_index += static_cast<uint32_t>(size);
    if (size != 0) console.chunks.push_back({console.end + size, now_ms_});
    console.end += size;
    ++counts_.appends;
    // What came last is always there, unless all the memory is somebody else's.
    if (console.stream->end() - console.stream->begin() < size) complain("console {}: {} bytes went at once", i, size);
  }

  void read(unsigned i, unsigned reader, unsigned pieces) {
    Expected& console = consoles_[i];
    Cursor& cursor = console.readers[reader];
    for (unsigned n = 0; n < pieces && fault_.empty(); ++n) {
      const uint64_t before = cursor.offset;
      const uint64_t begin = console.stream->begin();
      uint64_t missed = 0;
      const Piece piece = console.stream->next(cursor, missed);
      const uint64_t late = before < begin ? begin - before : 0;
      if (missed != late) complain("console {}: {} bytes missed, not {}", i, missed, late);
      if (cursor.offset != before + missed + piece.text.size()) complain("console {}: the cursor is elsewhere", i);
      counts_.misses += missed != 0 ? 1 : 0;
      if (piece.text.empty()) {
        if (cursor.offset != console.end) complain("console {}: nothing at {} of {}", i, cursor.offset, console.end);
        return;
      }
      ++counts_.pieces;
      const uint64_t from = before + missed;
      if (from + piece.text.size() > console.end) return complain("console {}: more than was written", i);
      if (const std::string fault = text_fault(console.text, from, piece.text); !fault.empty()) complain("{}", fault);
      for (const uint64_t at : {from, from + piece.text.size() - 1}) {
        if (piece.time_ms != console.time_of(at)) complain("console {}: the time at {} is wrong", i, at);
      }
    }
  }

  void seek_time(unsigned i) {
    Expected& console = consoles_[i];
    const uint64_t time_ms = now_ms_ - input_.below(64);
    const Cursor cursor = console.stream->since(time_ms);
    console.readers[input_.below(kReaders)] = cursor;
    uint64_t expected = console.stream->begin();
    while (expected < console.end && console.time_of(expected) < time_ms) ++expected;
    if (is_clock_good_ && cursor.offset != expected) {
      complain("console {}: the first text of that time is at {}, not {}", i, expected, cursor.offset);
    }
    in_range(i, cursor);
  }
  void seek_back(unsigned i) {
    Expected& console = consoles_[i];
    const uint64_t bytes = input_.below(256) * 40;
    const Cursor cursor = console.stream->last(bytes);
    console.readers[input_.below(kReaders)] = cursor;
    in_range(i, cursor);
    if (console.end - std::min(cursor.offset, console.end) > bytes) complain("console {}: more than was asked for", i);
    if (bytes >= console.end - console.stream->begin() && cursor.offset != console.stream->begin()) {
      complain("console {}: all was asked for", i);
    }
  }
  void in_range(unsigned i, const Cursor& cursor) {
    const Stream& stream = *consoles_[i].stream;
    if (cursor.offset < stream.begin() || cursor.offset > stream.end()) complain("console {}: {}?", i, cursor.offset);
  }

  // The same incarnation, or another one.
  void attach(unsigned i, bool is_new) {
    Expected& console = consoles_[i];
    if (is_new) {
      const std::array<Cursor, kReaders> none{};
      console = {.stream = {},
                 .incarnation = ++incarnations_,
                 .text = incarnations_ << 8 | i | (i % 2 == 0 ? kThinText : 0),
                 .chunks = {},
                 .end = 0,
                 .begin = 0,
                 .ring_index = 0,
                 .log = {},
                 .readers = none};
    }
    const auto attached =
        history_->attach({static_cast<DomId>(1 + i / 2), static_cast<uint16_t>(i % 2)}, console.incarnation);
    if (!attached) return complain("attaching {}: {}", i, attached.error().message());
    if (attached->is_continued == is_new) complain("console {} is {}", i, is_new ? "continued" : "new");
    console.stream = attached->stream;
    look_at_all();
  }
  void forget(unsigned i) {
    const uint64_t before = history_->bytes_held();
    const bool held = consoles_[i].begin != consoles_[i].end;
    history_->forget(*consoles_[i].stream);
    consoles_[i].stream.reset();
    if (held && history_->bytes_held() >= before) complain("console {} was forgotten, not freed", i);
    ++counts_.forgotten;
  }
  void die() {
    Fd found = FileContents::of(memory_).make_file();
    history_.reset();
    if (!open(std::move(found))) return;
    ++counts_.deaths;
    std::array<bool, kConsoles> had{};
    for (unsigned i = 0; i < kConsoles; ++i) had[i] = std::exchange(consoles_[i].stream, {}).has_value();
    // Readers keep the hints in their cursors.
    for (unsigned i = 0; i < kConsoles && fault_.empty(); ++i) {
      if (!had[i]) continue;
      const uint64_t begin = consoles_[i].begin;
      attach(i, false);
      if (fault_.empty() && consoles_[i].begin != begin) complain("console {} lost its past with its daemon", i);
    }
  }

  void look_at_all() {
    if (history_->bytes_held() > kLimits.total_bytes) complain("{} bytes held", history_->bytes_held());
    for (unsigned i = 0; i < kConsoles; ++i) {
      Expected& console = consoles_[i];
      if (!console.stream) continue;
      const uint64_t begin = console.stream->begin(), end = console.stream->end();
      if (end != console.end) return complain("console {} ends at {}, not {}", i, end, console.end);
      if (begin > end || begin < console.begin) return complain("console {} begins at {} of {}", i, begin, end);
      if (end - begin > kLimits.console_bytes) complain("console {} holds {}", i, end - begin);
      if (begin != console.begin && end < kLimits.console_bytes / 4) ++counts_.evicted_by_others;
      console.begin = begin;
      if (console.stream->ring_index() != console.ring_index) complain("console {}: another ring index", i);
      if (!(console.stream->log_position() == console.log)) complain("console {}: another log position", i);
    }
  }

  xenopolis::testing::Input input_;
  HistoryCounts& counts_;
  std::string fault_;
  bool is_clock_good_ = true;
  uint64_t now_ms_ = 1'700'000'000'000;
  uint32_t incarnations_ = 0;
  Fd memory_;
  std::unique_ptr<History> history_;
  std::array<Expected, kConsoles> consoles_;
};

}  // namespace

std::string play_history(std::span<const uint8_t> bytes, HistoryCounts& counts) {
  return Session(bytes, counts).play();
}

}  // namespace xenopolis::console
