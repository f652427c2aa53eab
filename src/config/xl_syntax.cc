#include "config/xl_syntax.h"

#include <fmt/format.h>
extern "C" {
#include <libxlutil.h>
}

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

namespace xenopolis::config {
namespace {

constexpr const char* kCommandLine = "command line";
// What libxlutil calls its input in reports: each line begins with it, a colon and a line's number.
constexpr std::string_view kReportName = "xl.cfg";

bool is_key_start(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_key(char c) {
  return is_key_start(c) || is_digit(c) || c == '_';
}

// libxlutil's NUMBER: [0-9][0-9a-fx]*
size_t number_length(std::string_view text) {
  if (text.empty() || !is_digit(text[0])) return 0;
  return std::min(text.find_first_not_of("0123456789abcdefx"), text.size());
}

// An override as a line of a file: what a shell has left without quotes gets them. Empty: it is none.
std::string to_line(std::string_view override) {
  const size_t key = static_cast<size_t>(std::find_if_not(override.begin(), override.end(), is_key) - override.begin());
  const size_t equals = override.find('=');
  if (key == 0 || !is_key_start(override[0]) || equals == std::string_view::npos) return "";
  if (override.find_first_of(std::string_view("\n\0", 2)) != std::string_view::npos) return "";
  std::string_view between = override.substr(key, equals - key);
  if (between.ends_with('+')) between.remove_suffix(1);
  if (between.find_first_not_of(" \t") != std::string_view::npos) return "";
  std::string_view value = override.substr(equals + 1);
  value.remove_prefix(std::min(value.find_first_not_of(" \t"), value.size()));
  std::string line(override.substr(0, equals + 1));
  // A number alone, or in front of another setting (memory=64;name="a"), as xl's manual has them.
  const std::string_view behind = value.substr(number_length(value));
  const bool is_number = behind.empty() || (behind.size() < value.size() && behind[0] == ';');
  if (!value.empty() && (is_number || std::string_view("\"'[").find(value[0]) != std::string_view::npos)) {
    return line.append(value) += '\n';
  }
  line += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') line += '\\';
    line += c;
  }
  return line += "\"\n";
}

// Where line `number` of what libxlutil was given comes from.
class Places {
 public:
  Places(std::string_view text, std::string filename) : filename_(std::move(filename)) {
    lines_ = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
    if (!text.empty() && text.back() != '\n') ++lines_;
  }
  std::string of(size_t number) const {
    return number > lines_ && has_overrides_ ? kCommandLine : fmt::format("{}:{}", filename_, number);
  }
  void add_overrides() { has_overrides_ = true; }
  const std::string& filename() const { return filename_; }

 private:
  const std::string filename_;
  size_t lines_;
  bool has_overrides_ = false;
};

struct Key {
  std::string name;
  size_t line;  // the last with it
  bool added;   // by += there
};

// libxlutil offers no list of the keys. In a text without errors they are the words outside of strings and comments:
// numbers, which may have letters too, begin with a digit, and all else is punctuation.
std::vector<Key> find_keys(std::string_view text) {
  std::map<std::string, Key> found;
  size_t line = 1;
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '\n') ++line;
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
    } else if (c == '"' || c == '\'') {
      for (++at; at < text.size() && text[at] != c; ++at) at += text[at] == '\\';
      ++at;
    } else if (is_digit(c)) {
      at += number_length(text.substr(at));
    } else if (is_key_start(c)) {
      const size_t start = at;
      while (at < text.size() && is_key(text[at])) ++at;
      const std::string name(text.substr(start, at - start));
      const size_t after = text.find_first_not_of(" \t", at);
      found[name] = {name, line, after != std::string_view::npos && text[after] == '+'};
    } else {
      ++at;
    }
  }
  std::vector<Key> keys;
  for (auto& [name, key] : found) keys.push_back(std::move(key));
  std::stable_sort(keys.begin(), keys.end(), [](const Key& a, const Key& b) { return a.line < b.line; });
  return keys;
}

struct Report {
  char* text = nullptr;
  size_t size = 0;
  FILE* file = open_memstream(&text, &size);
  Report() = default;
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;
  ~Report() {
    if (file != nullptr) fclose(file);
    free(text);
  }
};

using XlConfig = std::unique_ptr<XLU_Config, decltype(&xlu_cfg_destroy)>;

// libxlutil's "NAME:LINE: what" with our places; other lines as they are.
void pass_on(std::string_view report, const Places& places, Problems& problems) {
  while (!report.empty()) {
    const size_t end = std::min(report.find('\n'), report.size());
    std::string_view line = report.substr(0, end);
    report.remove_prefix(std::min(end + 1, report.size()));
    size_t number = 0;
    if (line.starts_with(kReportName) && line.substr(kReportName.size()).starts_with(':')) {
      const char* digits = line.data() + kReportName.size() + 1;
      const auto parsed = std::from_chars(digits, line.data() + line.size(), number);
      line.remove_prefix(static_cast<size_t>(parsed.ptr - line.data()));
      if (line.starts_with(": ")) line.remove_prefix(2);
      // Where a line's end is the error, libxlutil 4.17 takes one off twice.
      if (line.find(": syntax error, unexpected NEWLINE") != std::string_view::npos) ++number;
    }
    problems.add(number != 0 ? places.of(number) : places.filename(), std::string(line));
  }
}

}  // namespace

std::vector<Setting> parse_xl_syntax(std::string_view text, const std::string& filename,
                                     const std::vector<std::string>& overrides, Problems& problems) {
  Places places(text, filename);
  std::string all(text);
  // xl's grammar wants each setting and each comment to end with a line.
  if (!all.empty() && all.back() != '\n') all += '\n';
  for (const std::string& override : overrides) {
    const std::string line = to_line(override);
    if (line.empty()) problems.add(kCommandLine, fmt::format("\"{}\" is not KEY=VALUE", override));
    all += line;
    places.add_overrides();
  }
  if (all.size() > kMostXlConfigBytes) {
    problems.add(filename, fmt::format("{} bytes; at most {}", all.size(), kMostXlConfigBytes));
    return {};
  }
  // libxlutil 4.17 aborts the program where a string has one.
  if (const size_t nul = all.find('\0'); nul != std::string::npos) {
    const auto line = static_cast<size_t>(std::count(all.begin(), all.begin() + static_cast<ptrdiff_t>(nul), '\n')) + 1;
    problems.add(places.of(line), "a NUL byte");
    return {};
  }
  Report report;
  XlConfig config(report.file == nullptr ? nullptr : xlu_cfg_init(report.file, std::string(kReportName).c_str()),
                  xlu_cfg_destroy);
  if (config == nullptr) {
    problems.add(filename, "out of memory");
    return {};
  }
  const int error = xlu_cfg_readdata(config.get(), all.data(), static_cast<int>(all.size()));
  if (error != 0) {
    fflush(report.file);
    pass_on({report.text, report.size}, places, problems);
    if (all.find("\r\n") != std::string::npos) problems.add(filename, "lines end with CR LF; xl takes LF only");
    if (report.size == 0) problems.add(filename, fmt::format("libxlutil cannot read it (error {})", error));
    return {};
  }
  std::vector<Setting> settings;
  for (const auto& [key, line, added] : find_keys(all)) {
    Setting setting{key, places.of(line), std::nullopt, 0, added};
    XLU_ConfigList* list = nullptr;
    int items = 0;
    const char* value = nullptr;
    if (xlu_cfg_get_list(config.get(), key.c_str(), &list, &items, 1) == 0) {
      setting.items = static_cast<size_t>(items);
    } else if (xlu_cfg_get_string(config.get(), key.c_str(), &value, 1) == 0) {
      setting.value = value;
    } else {
      problems.add(setting.where, fmt::format("{}: cannot be read", key));
      continue;
    }
    settings.push_back(std::move(setting));
  }
  return settings;
}

}  // namespace xenopolis::config
