// What is wrong with what somebody wrote: everything, not the first thing.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace xenopolis::config {

class Problems {
 public:
  // "WHERE: what", where being "FILE:LINE" or "command line". What is wrong and what to do about it.
  void add(const std::string& where, const std::string& what) { lines_.push_back(where + ": " + what); }
  bool none() const { return lines_.empty(); }
  size_t count() const { return lines_.size(); }

  // A line for each. Its code is 0, so that its message is just these.
  Error error() const {
    std::string all;
    for (const std::string& line : lines_) all += (all.empty() ? "" : "\n") + line;
    return {0, std::move(all)};
  }

 private:
  std::vector<std::string> lines_;
};

}  // namespace xenopolis::config
