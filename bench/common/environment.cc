#include "common/environment.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <fstream>

#include "common/basics.h"

namespace xenopolis::bench {

nlohmann::json environment() {
  utsname kernel{};
  uname(&kernel);
  std::string cpu_model = "unknown";
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    cpu_model = line.substr(line.find(':') + 2);
    break;
  }
  const time_t now = time(nullptr);
  tm utc{};
  gmtime_r(&now, &utc);
  char date[32];
  strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &utc);
  return {
      {"kernel", kernel.release}, {"cpus", sysconf(_SC_NPROCESSORS_ONLN)}, {"cpu_model", cpu_model}, {"date", date}};
}

void print_environment(const nlohmann::json& here) {
  fmt::print("kernel {}, {} CPUs ({}), {}\n", here.at("kernel").get<std::string>(), here.at("cpus").get<int>(),
             here.at("cpu_model").get<std::string>(), here.at("date").get<std::string>());
}

void say_progress(const std::string& what) {
  if (isatty(STDERR_FILENO) != 0) fmt::print(stderr, "\r{:<70}\r", what);
}

bool write_json(const std::string& path, const nlohmann::json& figures) {
  std::ofstream file(path);
  file << figures.dump(2) << "\n";
  if (file.flush().good()) return true;
  complain("cannot write {}", path);
  return false;
}

}  // namespace xenopolis::bench
