// What every benchmark prints first: on what it ran. And where its figures go.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace xenopolis::bench {

// {kernel, cpus, cpu_model, date}, the date in UTC.
nlohmann::json environment();
// As one line. `here`: what environment() has returned, now or in an earlier run.
void print_environment(const nlohmann::json& here);

// Says on a terminal how far a long run is, in place of what was said before; "" at the end.
void say_progress(const std::string& what);

// False, with a message, when the file cannot be written.
bool write_json(const std::string& path, const nlohmann::json& figures);

}  // namespace xenopolis::bench
