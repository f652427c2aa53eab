// Which lines of which console are shown, and how.
#pragma once

#include <re2/re2.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cli/consoles_command.h"

namespace xenopolis::cli {

class LineFilter {
 public:
  // RE2 takes time linear in the text, whatever the expression: no line and no expression makes a search take for ever.
  static Result<LineFilter> create(const ConsolesOptions& options, bool with_colors);

  // "web: text\n", or an object of JSON and "\n", appended to `output`, if the line is wanted.
  bool print(std::string_view source, std::string_view line, uint64_t time_ms, std::string& output) const;
  bool is_wanted(std::string_view line) const;

 private:
  LineFilter() = default;

  std::unique_ptr<re2::RE2> expression_;  // none: every line
  bool with_colors_ = false;
  bool with_times_ = false;
  bool as_json_ = false;
};

}  // namespace xenopolis::cli
