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
  // How many of the bytes that were written are not in the logs, from the first one of a log that is missing or wrong.
  // Waits for what is still under way. Empties the logs, since it may be much.
  uint64_t lost_bytes(const std::vector<uint64_t>& written);

 private:
  struct Log {
    uint32_t console;
    std::string path;
    uint64_t begin;
  };
  uint64_t bytes() const;
  static uint64_t right_bytes(const Log& log, uint64_t written);

  std::vector<Log> logs_;
};

}  // namespace xenopolis::bench
