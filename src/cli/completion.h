// Completion in shells: scripts made of what the parser knows, so that they offer what this polis takes.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace xenopolis::cli {

// What can stand in a place of the command line.
enum class Offer { kNothing, kFiles, kDirectories, kDomains, kChoices };

struct CompletedOption {
  std::vector<std::string> names;  // with their dashes
  std::string description;         // one line
  bool takes_value = false;
  Offer offer = Offer::kNothing;
  std::vector<std::string> choices;
};

// A word of polis with what may follow it.
struct CompletedWord {
  std::string path;  // "", "create", "host start"
  std::string description;
  std::vector<CompletedOption> options;  // those of the words before it, too
  std::vector<CompletedWord> words;      // behind it
  Offer argument = Offer::kNothing;      // of the positional arguments
  std::vector<std::string> choices;      // if kChoices
};

CompletedWord completed_words(const CLI::App& app);

inline constexpr const char* kShells[] = {"bash", "zsh", "fish"};

// The script for one of kShells, to be sourced. EINVAL.
Result<std::string> completion_script(const CompletedWord& top, const std::string& shell);

}  // namespace xenopolis::cli
