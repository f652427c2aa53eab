#include "log_check.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <numeric>

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

uint64_t LogCheck::right_bytes(const Log& log, uint64_t written) {
  std::ifstream file(log.path, std::ios::binary);
  file.seekg(static_cast<std::streamoff>(log.begin));
  std::string text(Pattern::kMost, '\0');
  for (uint64_t right = 0;;) {
    file.read(text.data(), static_cast<std::streamsize>(std::min<uint64_t>(text.size(), written - right)));
    const auto size = static_cast<size_t>(file.gcount());
    if (size == 0) return right;
    const std::string_view is = std::string_view(text).substr(0, size);
    const std::string_view should_be = Pattern::at(log.console, right, size);
    right += static_cast<uint64_t>(std::ranges::mismatch(is, should_be).in1 - is.begin());
    if (is != should_be || right == written) return right;
  }
}

uint64_t LogCheck::lost_bytes(const std::vector<uint64_t>& written) {
  uint64_t expected = std::accumulate(written.begin(), written.end(), uint64_t{0});
  for (const Log& log : logs_) expected += log.begin;
  uint64_t now = bytes();
  for (unsigned pause = 0, still = 0; now < expected && still < kStill && pause < kPauses; ++pause) {
    nanosleep(&kPause, nullptr);
    const uint64_t before = std::exchange(now, bytes());
    still = now == before ? still + 1 : 0;
  }
  uint64_t lost = 0;
  for (size_t i = 0; i < logs_.size(); ++i) {
    lost += written[i] - right_bytes(logs_[i], written[i]);
    if (size_of(logs_[i].path) != 0) {
      require(truncate(logs_[i].path.c_str(), 0) == 0, "a log can be emptied");
    }
  }
  return lost;
}

}  // namespace xenopolis::bench
