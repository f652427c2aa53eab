// CONSOLEIO_write: what a guest says to the hypervisor's log.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace xenopolis::vcpu {

// Makes lines of it, printable, and bounds what one domain can put into the log in its life.
class EmergencyConsole {
 public:
  using WriteLine = std::function<void(std::string_view line)>;

  explicit EmergencyConsole(WriteLine write_line) : write_line_(std::move(write_line)) {}
  void write(std::string_view text);

  static constexpr size_t kMaxLine = 200;
  static constexpr size_t kMaxTotal = 256 * 1024;

 private:
  void end_line();

  WriteLine write_line_;
  std::string line_;
  size_t total_ = 0;
};

}  // namespace xenopolis::vcpu
