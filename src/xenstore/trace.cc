#include "xenstore/trace.h"

#include <fcntl.h>
#include <unistd.h>

#include <ctime>

#include "xen_abi/xenstore.h"

namespace xenopolis::xenstore {
namespace {

constexpr mode_t kFileMode = 0600;  // values are secrets

XsError error_of_errno(int code) {
  switch (code) {
    case EACCES:
    case EPERM:
      return XsError::kAcces;
    case ENOENT:
    case ENOTDIR:
      return XsError::kNoEnt;
    case ENOSPC:
      return XsError::kNoSpc;
    default:
      return XsError::kIo;
  }
}

}  // namespace

std::string_view name_of_type(uint32_t type) {
  return type < kXsTypeNames.size() && !kXsTypeNames[type].empty() ? kXsTypeNames[type] : "unknown";
}

XsStatus Trace::set_switch(std::string_view change) {
  if (change.empty() || (change.front() != '+' && change.front() != '-')) return xs_fail(XsError::kInval);
  for (size_t i = 0; i < kTraceSwitches.size(); ++i) {
    if (change.substr(1) != kTraceSwitches[i]) continue;
    const uint32_t switched = bit(static_cast<TraceKind>(i));
    switches_ = change.front() == '+' ? switches_ | switched : switches_ & ~switched;
    return {};
  }
  return xs_fail(XsError::kInval);
}

XsStatus Trace::log_to(std::string path) {
  path_ = std::move(path);
  return turn_on();
}

XsStatus Trace::turn_on() {
  file_.reset();
  if (path_.empty()) return {};
  file_ = Fd(open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, kFileMode));
  if (!file_) return xs_fail(error_of_errno(errno));
  return {};
}

void Trace::write_message(std::string_view direction, uint32_t domid, uint32_t type, std::string_view payload) {
  std::string text(payload);
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char when[32];
  when[std::strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &local)] = '\0';
  write("io: {} d{} {} {} ({})", direction, domid, when, name_of_type(type), text);
}

void Trace::write_line(std::string line) {
  line.push_back('\n');
  // A log that cannot be written is no reason to stop serving.
  if (::write(file_.get(), line.data(), line.size()) < 0) turn_off();
}

}  // namespace xenopolis::xenstore
