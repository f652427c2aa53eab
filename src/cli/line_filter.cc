#include "cli/line_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cli/since.h"

namespace xenopolis::cli {
namespace {

// As they can be told apart on dark and light ground.
constexpr int kColors[] = {31, 32, 33, 34, 35, 36, 91, 92, 94, 95, 96};
constexpr std::string_view kBold = "\x1b[1m";
constexpr std::string_view kDim = "\x1b[2m";
constexpr std::string_view kPlain = "\x1b[0m";

// The same for a domain today and tomorrow.
int color_of(std::string_view name) {
  uint32_t hash = 2'166'136'261;  // FNV-1a
  for (const char byte : name) hash = (hash ^ static_cast<uint8_t>(byte)) * 16'777'619;
  return kColors[hash % std::size(kColors)];
}

re2::StringPiece piece_of(std::string_view text) {
  return {text.data(), text.size()};
}

}  // namespace

Result<LineFilter> LineFilter::create(const ConsolesOptions& options, bool with_colors) {
  LineFilter filter;
  filter.with_colors_ = with_colors;
  filter.with_times_ = options.times;
  filter.as_json_ = options.json;
  if (options.grep.empty()) return filter;
  re2::RE2::Options settings;
  settings.set_log_errors(false);
  settings.set_case_sensitive(!options.ignore_case);
  filter.expression_ = std::make_unique<re2::RE2>(options.grep, settings);
  if (!filter.expression_->ok()) {
    return fail(0, fmt::format("the expression \"{}\": {}", options.grep, filter.expression_->error()));
  }
  return filter;
}

bool LineFilter::is_wanted(std::string_view line) const {
  return !expression_ || re2::RE2::PartialMatch(piece_of(line), *expression_);
}

bool LineFilter::print(std::string_view source, std::string_view line, uint64_t time_ms, std::string& output) const {
  if (!is_wanted(line)) return false;
  if (as_json_) {
    const nlohmann::json object{{"console", source}, {"text", line}, {"time_ms", time_ms}};
    output += object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    return true;
  }
  if (!with_colors_) {
    if (with_times_) output += to_local_time(time_ms) + " ";
    output.append(source).append(": ").append(line) += '\n';
    return true;
  }
  if (with_times_) output.append(kDim).append(to_local_time(time_ms)).append(kPlain) += ' ';
  output += fmt::format("\x1b[{}m{}:{} ", color_of(source), source, kPlain);
  // Each place that matches; an empty match is none.
  size_t at = 0;
  re2::StringPiece match;
  while (expression_ && at < line.size() &&
         expression_->Match(piece_of(line), at, line.size(), re2::RE2::UNANCHORED, &match, 1) && !match.empty()) {
    const auto from = static_cast<size_t>(match.data() - line.data());
    output.append(line.substr(at, from - at)).append(kBold).append(match.data(), match.size()).append(kPlain);
    at = from + match.size();
  }
  output.append(line.substr(at)) += '\n';
  return true;
}

}  // namespace xenopolis::cli
