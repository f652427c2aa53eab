#include "cli/log_search.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>

#include "base/fd.h"
#include "cli/lines.h"
#include "cli/since.h"
#include "console/client_protocol.h"

namespace xenopolis::cli {
namespace {

struct LogName {
  std::string source;
  unsigned age;  // 0: it is being written
};

// "web.log", "web:1.log.2".
std::optional<LogName> parse_log_name(const std::string& file) {
  constexpr std::string_view kSuffix = ".log";
  unsigned age = 0;
  size_t end = file.size();
  if (!file.ends_with(kSuffix)) {
    const size_t dot = file.rfind('.');
    if (dot == std::string::npos || dot + 1 == file.size()) return std::nullopt;
    const auto [last, error] = std::from_chars(file.data() + dot + 1, file.data() + file.size(), age);
    if (error != std::errc() || last != file.data() + file.size() || age == 0) return std::nullopt;
    end = dot;
  }
  const std::string_view stem = std::string_view(file).substr(0, end);
  if (!stem.ends_with(kSuffix) || stem.size() == kSuffix.size()) return std::nullopt;
  return LogName{std::string(stem.substr(0, stem.size() - kSuffix.size())), age};
}

}  // namespace

Result<std::vector<Log>> find_logs(const std::string& directory, const std::vector<std::string>& patterns) {
  std::map<std::string, std::map<unsigned, std::string, std::greater<>>> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const auto name = parse_log_name(entry.path().filename());
    if (!name) continue;
    const std::string domain = name->source.substr(0, name->source.find(':'));
    const bool is_wanted = patterns.empty() || std::any_of(patterns.begin(), patterns.end(), [&](const auto& pattern) {
                             return console::matches_glob(pattern, domain);
                           });
    if (is_wanted) found[name->source][name->age] = entry.path();
  }
  if (error) return fail(error.value(), "logs in " + directory);
  std::vector<Log> logs;
  for (const auto& [source, by_age] : found) {
    Log& log = logs.emplace_back(Log{source, {}});
    for (const auto& [age, path] : by_age) log.files.push_back(path);
  }
  return logs;
}

Status read_log(const Log& log, uint64_t since_ms, const std::function<void(std::string_view, uint64_t)>& visit,
                const std::function<bool()>& goes_on) {
  // Lines may go on in the next file.
  Lines lines;
  uint64_t last_ms = 0;
  const auto on_line = [&](std::string_view line, uint64_t file_ms) {
    const auto stamp = parse_stamp(line);
    if (stamp) last_ms = stamp->time_ms;
    const uint64_t time_ms = last_ms != 0 ? last_ms : file_ms;
    if (time_ms >= since_ms) visit(stamp ? line.substr(stamp->bytes) : line, time_ms);
  };
  for (const std::string& path : log.files) {
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat status {};
    if (!file || fstat(file.get(), &status) != 0) {
      if (errno == ENOENT) continue;  // rotated away
      return fail_errno(path);
    }
    const uint64_t changed_ms =
        static_cast<uint64_t>(status.st_mtim.tv_sec) * 1000 + static_cast<uint64_t>(status.st_mtim.tv_nsec) / 1'000'000;
    if (changed_ms < since_ms) continue;
    std::array<char, 64 * 1024> bytes;
    ssize_t count;
    while ((count = read(file.get(), bytes.data(), bytes.size())) > 0) {
      lines.add(std::string_view(bytes.data(), static_cast<size_t>(count)), changed_ms, on_line);
      if (!goes_on()) return {};
    }
    if (count < 0) return fail_errno(path);
  }
  lines.finish(on_line);
  return {};
}

}  // namespace xenopolis::cli
