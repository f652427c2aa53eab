#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>

namespace xenopolis::log {

void start(std::string_view program, std::string_view level) {
  auto logger =
      std::make_shared<spdlog::logger>(std::string(program), std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %n[%P] %l: %v");
  logger->set_level(spdlog::level::from_str(std::string(level)));
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace xenopolis::log
