// Whether logs have what guests have written.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace xenopolis::bench {

class LogCheck {
 public:
  // `console` says where its pattern begins.
  void add(uint32_t console, std::string path);
  // Waits until no log grows any more: what comes from then on is what is checked.
  void wait_until_quiet();
  // Of the bytes that were written, those that are not in the logs.
  struct Lost {
    uint64_t bytes = 0;
    uint64_t unmarked_bytes = 0;  // of them, those of which no "[N bytes dropped]" tells
  };
  // Waits for what is still under way. Empties the logs, since it may be much.
  Lost lost(const std::vector<uint64_t>& written);

 private:
  struct Log {
    uint32_t console;
    std::string path;
    uint64_t begin;
  };
  uint64_t bytes() const;
  static Lost compare(const Log& log, uint64_t written);

  std::vector<Log> logs_;
};

}  // namespace xenopolis::bench
