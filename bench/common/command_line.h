// What all benchmarks that compare can be asked in the same way.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace xenopolis::bench {

// Where figures come from, and how they are shown.
struct Presentation {
  std::string json_file, from_file, plot_directory;
  bool quick = false;

  // --json, --quick (`quick_help`), --plots, --from.
  void add_options(CLI::App& app, const std::string& quick_help);
  // The program's exit status. `run` measures, if --from does not say that there is nothing to measure.
  using Run = std::function<nlohmann::json()>;
  using Show = std::function<void(const nlohmann::json&)>;
  using Draw = std::function<bool(const nlohmann::json&, const std::string& directory)>;
  int present(const Run& run, const Show& print_tables, const Draw& draw_plots) const;
};

// Runs `body` in a child, whose exit status it returns, with a directory that is gone afterwards however the child
// ends. All processes that the child has started end with it.
int with_directory(const std::function<int(const std::string& directory)>& body);

}  // namespace xenopolis::bench
