#include "cli/lines.h"

namespace xenopolis::cli {
namespace {

// The control characters U+0080 .. U+009F, which some terminals obey: CSI is one.
bool is_c1(std::string_view text, size_t at) {
  return text[at] == '\xc2' && at + 1 < text.size() && static_cast<uint8_t>(text[at + 1]) < 0xa0;
}
bool is_lone_c1(char byte) {
  return static_cast<uint8_t>(byte) >= 0x80 && static_cast<uint8_t>(byte) < 0xa0;
}

}  // namespace

void Lines::add(std::string_view text, uint64_t time_ms, const Visitor& visit) {
  scanner_.scan(text, [&](TokenKind kind, std::string_view token) {
    if (kind == TokenKind::kText || (kind == TokenKind::kControl && token.front() == '\t')) {
      add_text(token, time_ms, visit);
    } else if (kind == TokenKind::kControl && token.front() == '\n') {
      if (!has_begun_) time_ms_ = time_ms;
      end_line(visit);
    }
  });
}

void Lines::add_text(std::string_view text, uint64_t time_ms, const Visitor& visit) {
  if (!has_begun_) time_ms_ = time_ms;
  has_begun_ = true;
  while (!text.empty()) {
    if (line_.size() >= kMostBytes) {
      end_line(visit);
      time_ms_ = time_ms;
      has_begun_ = true;
    }
    const std::string_view part = text.substr(0, kMostBytes - line_.size());
    line_.append(part);
    text.remove_prefix(part.size());
  }
}

void Lines::end_line(const Visitor& visit) {
  std::string plain;
  plain.reserve(line_.size());
  for (size_t at = 0; at < line_.size(); ++at) {
    const bool follows_lead = at > 0 && static_cast<uint8_t>(line_[at - 1]) >= 0x80;
    if (is_c1(line_, at)) {
      ++at;
    } else if (!is_lone_c1(line_[at]) || follows_lead) {
      plain += line_[at];
    }
  }
  visit(plain, time_ms_);
  line_.clear();
  has_begun_ = false;
}

void Lines::finish(const Visitor& visit) {
  if (has_begun_) end_line(visit);
}

}  // namespace xenopolis::cli
