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
  void add_line(std::string line) { lines_.push_back(std::move(line)); }
  bool none() const { return lines_.empty(); }
  const std::vector<std::string>& lines() const { return lines_; }

  // EINVAL and a line for each.
  Error error() const {
    std::string all;
    for (const std::string& line : lines_) all += (all.empty() ? "" : "\n") + line;
    return {EINVAL, std::move(all)};
  }

 private:
  std::vector<std::string> lines_;
};

}  // namespace xenopolis::config
