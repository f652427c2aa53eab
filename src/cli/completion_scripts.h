#pragma once

#include <string>

#include "cli/completion.h"

namespace xenopolis::cli {

std::string bash_completion(const CompletedWord& top);
std::string zsh_completion(const CompletedWord& top);
std::string fish_completion(const CompletedWord& top);

// In single quotes for a POSIX shell; for fish with its own escapes.
std::string shell_quoted(const std::string& text);
std::string fish_quoted(const std::string& text);

// Calls visit(word) for the word and all behind it.
template <class Visitor>
void for_each_word(const CompletedWord& word, Visitor visit) {
  visit(word);
  for (const CompletedWord& subword : word.words) for_each_word(subword, visit);
}

}  // namespace xenopolis::cli
