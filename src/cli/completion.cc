#include "cli/completion.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/completion_scripts.h"

namespace xenopolis::cli {
namespace {

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

// Of a check against a set CLI11 keeps the description only: "TEXT:{auto,kvm,hosted}".
std::vector<std::string> choices_in(const std::string& type) {
  const size_t open = type.find('{'), close = type.rfind('}');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  std::vector<std::string> choices;
  const std::string list = type.substr(open + 1, close - open - 1) + ",";
  for (size_t start = 0, comma; (comma = list.find(',', start)) != std::string::npos; start = comma + 1) {
    if (comma > start) choices.push_back(list.substr(start, comma - start));
  }
  return choices;
}

Offer offer_of(const std::string& name, const std::vector<std::string>& choices) {
  if (!choices.empty()) return Offer::kChoices;
  if (name.find("DOMAIN") != std::string::npos) return Offer::kDomains;
  if (name.find("DIR") != std::string::npos) return Offer::kDirectories;
  if (name.find("FILE") != std::string::npos || name.find("IMAGE") != std::string::npos) return Offer::kFiles;
  return Offer::kNothing;
}

void add_option(const CLI::Option& option, CompletedWord& word) {
  const std::string type = option.get_type_name();
  const std::vector<std::string> choices = choices_in(type);
  if (option.nonpositional() && !option.get_group().empty()) {
    CompletedOption completed;
    for (const std::string& name : option.get_lnames()) completed.names.push_back("--" + name);
    for (const std::string& name : option.get_snames()) completed.names.push_back("-" + name);
    completed.description = first_line(option.get_description());
    completed.takes_value = option.get_items_expected_max() > 0;
    if (completed.takes_value) {
      completed.offer = offer_of(type, choices);
      completed.choices = choices;
    }
    word.options.push_back(std::move(completed));
  }
  if (option.get_positional() && word.argument == Offer::kNothing) {
    // "NAME: of the domain", "PATTERN: domains by name".
    const bool is_domain = option.get_description().find("domain") != std::string::npos;
    word.argument = is_domain && choices.empty() ? Offer::kDomains : offer_of(option.get_name(true), choices);
    word.choices = choices;
  }
}

CompletedWord completed_word(const CLI::App& app, const std::string& path, const std::vector<CompletedOption>& common) {
  CompletedWord word;
  word.path = path;
  word.description = first_line(app.get_description());
  for (const CLI::Option* option : app.get_options()) add_option(*option, word);
  // --version is the program's alone.
  std::vector<CompletedOption> passed_on = path.empty() ? word.options : std::vector<CompletedOption>();
  std::erase_if(passed_on, [](const CompletedOption& option) {
    return std::any_of(option.names.begin(), option.names.end(),
                       [](const std::string& name) { return name == "--version" || name == "--help"; });
  });
  passed_on.insert(passed_on.end(), common.begin(), common.end());
  word.options.insert(word.options.end(), common.begin(), common.end());
  for (const CLI::App* subword : app.get_subcommands([](const CLI::App* each) { return !each->get_group().empty(); })) {
    const std::string name = subword->get_name();
    word.words.push_back(completed_word(*subword, path.empty() ? name : path + " " + name, passed_on));
  }
  return word;
}

}  // namespace

std::string shell_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string fish_quoted(const std::string& text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}

CompletedWord completed_words(const CLI::App& app) {
  return completed_word(app, "", {});
}

Result<std::string> completion_script(const CompletedWord& top, const std::string& shell) {
  if (shell == "bash") return bash_completion(top);
  if (shell == "zsh") return zsh_completion(top);
  if (shell == "fish") return fish_completion(top);
  return fail(EINVAL, fmt::format("\"{}\" is none of bash, zsh, fish", shell));
}

}  // namespace xenopolis::cli
