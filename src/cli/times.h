// Times as xl writes them.
#pragma once

#include <cstdint>
#include <string>

namespace xenopolis::cli {

// " 0:01:10", "1 day,  2:00:00", "3 days, 12:00:00".
std::string uptime_text(int64_t seconds);
// The same without seconds.
std::string short_uptime_text(int64_t seconds);
// "12:30:00", local time.
std::string clock_text(int64_t calendar_s);

}  // namespace xenopolis::cli
