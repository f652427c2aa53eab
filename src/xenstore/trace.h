// The operator's log of what the daemon does: off, or lines in a file, of the kinds that are switched on.
#pragma once

#include <fmt/core.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "xenstore/error.h"

namespace xenopolis::xenstore {

// Xen's xenstored has the same switches; here nothing is traced for kWriteLimit, as there is no such limit.
enum class TraceKind : uint8_t { kObjects, kMessages, kWriteLimit, kAccounts, kStore };
inline constexpr std::array<std::string_view, 5> kTraceSwitches{"obj", "io", "wrl", "acc", "tdb"};

class Trace {
 public:
  bool traces(TraceKind kind) const { return file_ && is_switched_on(kind); }
  bool is_switched_on(TraceKind kind) const { return (switches_ & bit(kind)) != 0; }

  // "+io" or "-io". kInval: no such switch.
  XsStatus set_switch(std::string_view change);

  // To another file, appending, from now on. With an error the log is off.
  XsStatus log_to(std::string path);
  // Opens the file again, as after it has been moved away; does nothing when there never was one.
  XsStatus turn_on();
  void turn_off() { file_.reset(); }
  const std::string& path() const { return path_; }

  // Only where traces() says so.
  template <class... Arguments>
  void write(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    write_line(fmt::vformat(format, fmt::make_format_args(arguments...)));
  }
  // A request, reply or event: "io: IN d7 2026-01-31 12:00:00 READ (/a )".
  void write_message(std::string_view direction, uint32_t domid, uint32_t type, std::string_view payload);

 private:
  static uint32_t bit(TraceKind kind) { return 1u << static_cast<unsigned>(kind); }
  void write_line(std::string line);

  std::string path_;
  Fd file_;
  uint32_t switches_ = bit(TraceKind::kObjects) | bit(TraceKind::kMessages);
};

// "READ", or "unknown".
std::string_view name_of_type(uint32_t type);

}  // namespace xenopolis::xenstore
