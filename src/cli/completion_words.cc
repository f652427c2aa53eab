// completion: what shells need to complete the words of polis.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/completion.h"

namespace xenopolis::cli {

void add_completion(CommandLine& line) {
  const auto shell = std::make_shared<std::string>();
  CLI::App* command =
      line.add("completion", "Print a script that teaches a shell the words of polis", [shell, &line]() -> Result<int> {
        if (line.common().json) return no_json("completion");
        fmt::print("{}", TRY(completion_script(completed_words(line.app()), *shell)));
        return 0;
      });
  command->footer(
      "bash: source <(polis completion bash)\n"
      "zsh:  source <(polis completion zsh)\n"
      "fish: polis completion fish | source");
  command->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember(std::vector<std::string>(std::begin(kShells), std::end(kShells))));
}

}  // namespace xenopolis::cli
