#include "cli/times.h"

#include <fmt/format.h>
#include <time.h>

namespace xenopolis::cli {
namespace {

constexpr int64_t kMinute = 60;
constexpr int64_t kHour = 60 * kMinute;
constexpr int64_t kDay = 24 * kHour;

}  // namespace

std::string short_uptime_text(int64_t seconds) {
  const int64_t days = seconds / kDay;
  const std::string before = days == 0 ? "" : fmt::format("{} day{}, ", days, days == 1 ? "" : "s");
  return fmt::format("{}{:2}:{:02}", before, seconds % kDay / kHour, seconds % kHour / kMinute);
}

std::string uptime_text(int64_t seconds) {
  return fmt::format("{}:{:02}", short_uptime_text(seconds), seconds % kMinute);
}

std::string clock_text(int64_t calendar_s) {
  tm time{};
  const time_t moment = calendar_s;
  localtime_r(&moment, &time);
  return fmt::format("{:02}:{:02}:{:02}", time.tm_hour, time.tm_min, time.tm_sec);
}

}  // namespace xenopolis::cli
