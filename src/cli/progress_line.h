// One line on stderr that says how far long work has come; nothing where stderr is no terminal.
#pragma once

#include <string>

namespace xenopolis::cli {

class ProgressLine {
 public:
  // `wanted`: false for --quiet.
  explicit ProgressLine(bool wanted);
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(const std::string& text);
  // Before something else is printed.
  void clear();

 private:
  bool is_shown_;
  size_t width_ = 0;
};

}  // namespace xenopolis::cli
