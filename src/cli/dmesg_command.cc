#include "cli/dmesg_command.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/host_client.h"
#include "cli/host_watch.h"
#include "machine/message_ring.h"

namespace xenopolis::cli {
namespace {

using machine::Message;
using machine::MessageSource;

constexpr int kLookEveryMs = 100;

std::string time_text(uint64_t time_ns, bool is_utc) {
  const auto seconds = static_cast<time_t>(time_ns / 1'000'000'000);
  return fmt::format("{:%FT%T}.{:03}{}", is_utc ? fmt::gmtime(seconds) : fmt::localtime(seconds),
                     time_ns / 1'000'000 % 1000, is_utc ? "Z" : "");
}

// As the daemons' own logs look; guests' lines as Xen has them, "(d3) text".
std::string text_line(const Message& message) {
  const std::string time = time_text(message.time_ns, false);
  if (message.source == MessageSource::kGuest) {
    return fmt::format("{} (d{} {}) {}\n", time, message.domid.value_or(0), message.origin, message.text);
  }
  return fmt::format("{} {}[{}] {}: {}\n", time, message.origin, message.pid, log::name_of(message.level),
                     message.text);
}

// The members of the daemons' --log-format json.
std::string json_line(const Message& message) {
  nlohmann::ordered_json line{{"time", time_text(message.time_ns, true)}, {"level", log::name_of(message.level)}};
  line[message.source == MessageSource::kGuest ? "guest" : "program"] = message.origin;
  line["pid"] = message.pid;
  if (message.domid) line["domid"] = *message.domid;
  line["message"] = message.text;
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

class Printer {
 public:
  Printer(const DmesgOptions& options, log::Level level, std::optional<DomId> domid)
      : options_(options), level_(level), domid_(domid) {}

  void print(machine::MessageReader& reader) {
    for (const Message& message : reader.read()) {
      if (message.level < level_ || (domid_ && message.domid != domid_)) continue;
      fmt::print("{}", options_.json ? json_line(message) : text_line(message));
    }
    std::fflush(stdout);
  }

 private:
  const DmesgOptions& options_;
  const log::Level level_;
  const std::optional<DomId> domid_;
};

}  // namespace

Result<int> run_dmesg(const DmesgOptions& options) {
  const std::optional<log::Level> level = log::level_named(options.level);
  if (!level) return fail(0, fmt::format("no level \"{}\": info, warn or error", options.level));
  const auto client = TRY(HostClient::connect(options.run_directory));
  std::optional<DomId> domid;
  if (!options.domain.empty()) {
    // Domains that are gone have left lines, too.
    const auto number = as_domid(options.domain);
    domid = number && *number < kDomIdCount ? static_cast<DomId>(*number) : TRY(client->find(options.domain));
  }
  TRY(client->machine());
  Printer printer(options, *level, domid);
  machine::MessageReader reader;
  printer.print(reader);
  if (options.clear) machine::clear_messages();
  if (!options.follow) {
    // A line that is just being written.
    for (unsigned i = 1; i < machine::MessageReader::kPatience; ++i) printer.print(reader);
    return 0;
  }
  TRY_VOID(client->catch_signals());
  HostWatch watch(*client);
  while (client->interrupted() == 0 && watch.is_there()) {
    TRY_VOID(client->loop().run_once(kLookEveryMs));
    printer.print(reader);
  }
  return 0;
}

}  // namespace xenopolis::cli
