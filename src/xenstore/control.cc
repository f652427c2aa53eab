#include "xenstore/control.h"

#include <fmt/format.h>

#include <vector>

#include "base/log.h"
#include "xenstore/check.h"
#include "xenstore/report.h"
#include "xenstore/server.h"

namespace xenopolis::xenstore {
namespace {

// More than any command takes.
constexpr size_t kStringsMax = 8;
const std::string kOk = "OK";

}  // namespace

std::span<const Control::Entry> Control::entries() {
  static const Entry kEntries[] = {
      {"check", &Control::check, ""},
      {"log", &Control::log, "[on|off|+<switch>|-<switch>]"},
      {"live-update", &Control::live_update, "[-c <cmdline>] [-F] [-t <timeout>] <file>"},
      {"logfile", &Control::logfile, "<file>"},
      {"memreport", &Control::memreport, "[<file>]"},
      {"print", &Control::print, "<string>"},
      {"quota", &Control::quota, "[set <name> <val>|<domid>|max [-r]]"},
      {"quota-soft", &Control::quota_soft, "[set <name> <val>]"},
      {"domain-shutdown", &Control::domain_shutdown, "<domid>"},
      {"help", &Control::help, ""},
  };
  return kEntries;
}

Control::Answer Control::run(std::string_view payload) {
  std::array<std::string_view, kStringsMax> strings;
  const size_t count = split_strings(payload, strings);
  if (count == 0) return xs_fail(XsError::kInval);
  for (const Entry& entry : entries()) {
    if (entry.name != strings[0]) continue;
    if (count > strings.size()) return xs_fail(XsError::kInval);
    return (this->*entry.command)(Arguments(strings).subspan(1, count - 1));
  }
  return xs_fail(XsError::kInval);
}

// Walks everything there is. kIo, and what is wrong in the daemon's log, when something is.
Control::Answer Control::check(Arguments arguments) {
  if (!arguments.empty()) return xs_fail(XsError::kInval);
  const std::vector<std::string> faults = find_faults(server_);
  for (const std::string& fault : faults) log::error("check: {}", fault);
  if (!faults.empty()) return xs_fail(XsError::kIo);
  return kOk;
}

Control::Answer Control::log(Arguments arguments) {
  Trace& trace = server_.trace();
  if (arguments.empty()) {
    std::string text = "Log switch settings:\n";
    for (size_t i = 0; i < kTraceSwitches.size(); ++i) {
      text +=
          fmt::format("{:<8}: {}\n", kTraceSwitches[i], trace.is_switched_on(static_cast<TraceKind>(i)) ? "on" : "off");
    }
    return text;
  }
  if (arguments.size() != 1) return xs_fail(XsError::kInval);
  if (arguments[0] == "off") {
    trace.turn_off();
  } else if (arguments[0] == "on") {
    TRY_VOID(trace.turn_on());
  } else {
    TRY_VOID(trace.set_switch(arguments[0]));
  }
  return kOk;
}

Control::Answer Control::live_update(Arguments arguments) {
  if (!live_update_) return xs_fail(XsError::kNoSys);
  return live_update_(arguments);
}

Control::Answer Control::logfile(Arguments arguments) {
  if (arguments.size() != 1) return xs_fail(XsError::kInval);
  TRY_VOID(server_.trace().log_to(absolute(arguments[0])));
  return kOk;
}

// To the log's file if none is given. Walks everything there is.
Control::Answer Control::memreport(Arguments arguments) {
  if (arguments.size() > 1) return xs_fail(XsError::kInval);
  const std::string file = arguments.empty() ? server_.trace().path() : absolute(arguments[0]);
  if (file.empty()) return xs_fail(XsError::kInval);  // xenstored: EBADF, which has no name on the wire
  TRY_VOID(append_to_file(file, memory_report(server_)));
  return kOk;
}

Control::Answer Control::print(Arguments arguments) {
  if (arguments.size() != 1) return xs_fail(XsError::kInval);
  log::info("control: {}", arguments[0]);
  return kOk;
}

Control::Answer Control::quota(Arguments arguments) {
  if (arguments.empty()) return show_quotas(false);
  if (arguments[0] == "set") return set_quota(arguments.subspan(1), false);
  if (arguments[0] == "max") return show_maxima(arguments.subspan(1));
  if (arguments.size() == 1) return show_domain(arguments[0]);
  return xs_fail(XsError::kInval);
}

Control::Answer Control::quota_soft(Arguments arguments) {
  if (arguments.empty()) return show_quotas(true);
  if (arguments[0] == "set") return set_quota(arguments.subspan(1), true);
  return xs_fail(XsError::kInval);
}

Control::Answer Control::show_quotas(bool soft) const {
  std::string text = "Quota settings:\n";
  for (const QuotaName& quota : kQuotas) {
    const auto limit = soft ? quota.soft : quota.hard;
    if (limit == nullptr) continue;
    text += fmt::format("{:<17}: {:8} {}\n", quota.name, server_.store().quotas().general().*limit, quota.description);
  }
  return text;
}

// For domains to come. 0 is a value of SET_QUOTA only.
Control::Answer Control::set_quota(Arguments arguments, bool soft) {
  if (arguments.size() != 2) return xs_fail(XsError::kInval);
  const auto limit = find_quota(arguments[0], soft);
  int32_t value = 0;
  if (limit == nullptr || !parse_decimal(arguments[1], value) || value < 1) return xs_fail(XsError::kInval);
  server_.store().quotas().general().*limit = static_cast<uint32_t>(value);
  return kOk;
}

Control::Answer Control::show_domain(std::string_view text) const {
  DomId domid = 0;
  if (!parse_decimal(text, domid)) return xs_fail(XsError::kInval);
  if (domid == kDom0 || !server_.exists(domid)) return xs_fail(XsError::kNoEnt);
  const Accounts now = accounts_of(server_, domid);
  const Accounts& most = server_.maxima().of(domid);
  std::string answer = fmt::format("Domain {}:\n", domid);
  for (size_t i = 0; i < kQuotas.size(); ++i) {
    answer += fmt::format("{:<17}: {:8} (max {:8})\n", kQuotas[i].name, now[i], std::max(now[i], most[i]));
  }
  return answer;
}

Control::Answer Control::show_maxima(Arguments arguments) {
  if (arguments.size() > 1) return xs_fail(XsError::kInval);
  if (arguments.size() == 1) {
    if (arguments[0] != "-r") return xs_fail(XsError::kInval);
    server_.maxima().reset();
  }
  std::string text = "Max. seen accounting values:\n";
  for (size_t i = 0; i < kQuotas.size(); ++i) {
    text += fmt::format("{:<17}: {:8}\n", kQuotas[i].name, server_.maxima().general()[i]);
  }
  return text;
}

// How the machine's side says what Xen's VIRQ_DOM_EXC tells xenstored.
Control::Answer Control::domain_shutdown(Arguments arguments) {
  DomId domid = 0;
  if (arguments.size() != 1 || !parse_decimal(arguments[0], domid)) return xs_fail(XsError::kInval);
  TRY_VOID(server_.shut_down(domid));
  return kOk;
}

Control::Answer Control::help(Arguments arguments) {
  if (!arguments.empty()) return xs_fail(XsError::kInval);
  std::string text;
  for (const Entry& entry : entries()) text += fmt::format("{:<15} {}\n", entry.name, entry.parameters);
  return text;
}

std::string Control::absolute(std::string_view file) const {
  if (file.starts_with('/')) return std::string(file);
  return fmt::format("{}/{}", directory_, file);
}

}  // namespace xenopolis::xenstore
