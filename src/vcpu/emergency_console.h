// CONSOLEIO_write: what a guest says to the hypervisor's log.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace xenopolis::vcpu {

// Makes lines of it, printable, and bounds what one domain can put into the log.
class EmergencyConsole {
 public:
  using WriteLine = std::function<void(std::string_view line)>;

  // `said`: bytes so far, which others may add to; outlives this.
  EmergencyConsole(std::atomic<uint64_t>& said, WriteLine write_line)
      : said_(said), write_line_(std::move(write_line)) {}
  void write(std::string_view text);

  static constexpr size_t kMaxLine = 200;
  static constexpr uint64_t kMaxTotal = 256 * 1024;

 private:
  void end_line();

  std::atomic<uint64_t>& said_;
  WriteLine write_line_;
  std::string line_;
};

}  // namespace xenopolis::vcpu
