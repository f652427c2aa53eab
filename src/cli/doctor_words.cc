// polis doctor.
#include <fmt/format.h>

#include "base/printable.h"
#include "cli/command.h"
#include "cli/doctor.h"
#include "cli/host_client.h"

namespace xenopolis::cli {

void add_doctor(CommandLine& line) {
  CLI::App* command =
      line.add("doctor",
               "Compare what polisd, cells, event channels, grants, memory, xenstore, consoles, processes and logs say",
               [&line]() -> Result<int> {
                 const std::string directory = TRY(line.common().directory());
                 const auto host = TRY(HostClient::connect(directory));
                 const Diagnosis diagnosis = TRY(examine(*host));
                 // What xenstore says may be a guest's.
                 constexpr auto kReplace = nlohmann::json::error_handler_t::replace;
                 fmt::print("{}", line.common().json ? to_json(diagnosis).dump(2, ' ', true, kReplace) + "\n"
                                                     : printable_lines(to_text(diagnosis)));
                 return diagnosis.disagreements.empty() ? 0 : kExitFailure;
               });
  command->footer(
      "It changes nothing. What it reports it has seen four times in a second.\n"
      "Exit status: 0 if everything agrees, else 1.");
}

}  // namespace xenopolis::cli
