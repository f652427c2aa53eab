// What every benchmark prints first: on what it ran.
#pragma once

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace xenopolis::bench {

struct Environment {
  std::string kernel;
  std::string cpu_model = "unknown";
  std::string date;  // UTC
  long cpus = 0;
};

inline Environment environment() {
  Environment here;
  utsname kernel{};
  uname(&kernel);
  here.kernel = kernel.release;
  here.cpus = sysconf(_SC_NPROCESSORS_ONLN);
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    here.cpu_model = line.substr(line.find(':') + 2);
    break;
  }
  const time_t now = time(nullptr);
  tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  strftime(text, sizeof text, "%Y-%m-%d %H:%M UTC", &utc);
  here.date = text;
  return here;
}

inline void print(const Environment& here) {
  fmt::print("kernel {}, {} CPUs ({}), {}\n", here.kernel, here.cpus, here.cpu_model, here.date);
}

inline nlohmann::json to_json(const Environment& here) {
  return {{"kernel", here.kernel}, {"cpus", here.cpus}, {"cpu_model", here.cpu_model}, {"date", here.date}};
}

// False, with a message, when the file cannot be written.
inline bool write_json(const char* program, const std::string& path, const nlohmann::json& figures) {
  std::ofstream file(path);
  file << figures.dump(2) << "\n";
  if (file.flush().good()) return true;
  fmt::print(stderr, "{}: cannot write {}\n", program, path);
  return false;
}

}  // namespace xenopolis::bench
