#include "log_check.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <numeric>
#include <optional>

#include "common/basics.h"
#include "pattern.h"

namespace xenopolis::bench {
namespace {

// Longer than a daemon gathers before it writes.
constexpr timespec kPause{0, 80'000'000};
// For what is under way; and what has not come after so many is lost.
constexpr unsigned kPauses = 400, kStill = 15;

uint64_t size_of(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 ? static_cast<uint64_t>(status.st_size) : 0;
}

struct Mark {
  size_t size;  // with the newlines around it
  uint64_t dropped;
};

// "[N bytes dropped]" on a line of its own.
std::optional<Mark> mark_at(std::string_view text) {
  const size_t begin = text.starts_with('\n') ? 1 : 0;
  unsigned long dropped = 0;
  int length = 0;
  const std::string line(text.substr(begin, 64));
  if (std::sscanf(line.c_str(), "[%lu bytes dropped]%n", &dropped, &length) != 1 || length == 0) return std::nullopt;
  return Mark{begin + static_cast<size_t>(length) + 1, dropped};
}

}  // namespace

void LogCheck::add(uint32_t console, std::string path) {
  logs_.push_back({console, std::move(path), 0});
}

uint64_t LogCheck::bytes() const {
  uint64_t sum = 0;
  for (const Log& log : logs_) sum += size_of(log.path);
  return sum;
}

void LogCheck::wait_until_quiet() {
  for (uint64_t before = ~0ull, now = bytes(); now != before; now = bytes()) {
    before = now;
    nanosleep(&kPause, nullptr);
  }
  for (Log& log : logs_) log.begin = size_of(log.path);
}

// A log that has neither the pattern nor a mark is wrong from there on: that is lost, and not marked.
LogCheck::Lost LogCheck::compare(const Log& log, uint64_t written) {
  std::ifstream file(log.path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(log.begin));
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  uint64_t offset = 0, marked = 0;  // in what was written
  for (size_t at = 0; at < text.size() && offset < written;) {
    const std::string_view is = std::string_view(text).substr(at, std::min<uint64_t>(Pattern::kMost, written - offset));
    const std::string_view should_be = Pattern::at(log.console, offset, is.size());
    const auto right = static_cast<size_t>(std::ranges::mismatch(is, should_be).in1 - is.begin());
    at += right;
    offset += right;
    if (right == is.size()) continue;
    const std::optional<Mark> mark = mark_at(std::string_view(text).substr(at));
    if (!mark) break;
    at += mark->size;
    marked += mark->dropped;
    offset += mark->dropped;
    // The mark stands on a line of its own: if what was dropped began with a newline, the one before the mark was
    // taken for it.
    const std::string_view next = std::string_view(text).substr(at, 64);
    if (right > 0 && offset < written && next != Pattern::at(log.console, offset, next.size()) &&
        next == Pattern::at(log.console, offset - 1, next.size())) {
      --offset;
    }
  }
  const uint64_t unmarked = written - std::min(offset, written);
  return {marked + unmarked, unmarked};
}

LogCheck::Lost LogCheck::lost(const std::vector<uint64_t>& written) {
  uint64_t expected = std::accumulate(written.begin(), written.end(), uint64_t{0});
  for (const Log& log : logs_) expected += log.begin;
  uint64_t now = bytes();
  for (unsigned pause = 0, still = 0; now < expected && still < kStill && pause < kPauses; ++pause) {
    nanosleep(&kPause, nullptr);
    const uint64_t before = std::exchange(now, bytes());
    still = now == before ? still + 1 : 0;
  }
  Lost lost;
  for (size_t i = 0; i < logs_.size(); ++i) {
    const Lost here = compare(logs_[i], written[i]);
    lost.bytes += here.bytes;
    lost.unmarked_bytes += here.unmarked_bytes;
    if (size_of(logs_[i].path) != 0) {
      require(truncate(logs_[i].path.c_str(), 0) == 0, "a log can be emptied");
    }
  }
  return lost;
}

}  // namespace xenopolis::bench
