#include <fmt/format.h>

#include "cli/completion_scripts.h"

namespace xenopolis::cli {
namespace {

constexpr const char* kBegin = R"sh(# Completion of polis for bash: source <(polis completion bash)

# Names of the domains of the host that the line means.
_polis_domains() {
  polis "${_polis_host[@]}" list --names 2>/dev/null
}

_polis_offer() {
  local IFS=$'\n'
  COMPREPLY=($(compgen "$@" -- "$_polis_current"))
}

)sh";

constexpr const char* kEnd = R"sh(
_polis() {
  # Words as the shell splits them: "--host=a" comes as three.
  local _polis_current=${COMP_WORDS[COMP_CWORD]} path="" value_of="" i word offer words
  local -a _polis_host=()
  COMPREPLY=()
  [[ $_polis_current == = ]] && _polis_current=""
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    [[ $word == = ]] && continue
    if [[ -n $value_of ]]; then
      [[ $value_of == --host || $value_of == --run-dir ]] && _polis_host=("$value_of" "$word")
      value_of=""
    elif [[ $word == -- ]]; then
      return 0
    elif [[ $word == -* ]]; then
      [[ -n $(_polis_value "$path" "$word") ]] && value_of=$word
    elif [[ $'\n'$(_polis_words "$path")$'\n' == *$'\n'"$word"$'\n'* ]]; then
      path=${path:+$path }$word
    fi
  done
  if [[ -n $value_of ]]; then
    offer=$(_polis_value "$path" "$value_of")
  elif [[ $_polis_current == -* ]]; then
    _polis_offer -W "$(_polis_options "$path")"
    return 0
  else
    words=$(_polis_words "$path")
    if [[ -n $words ]]; then
      _polis_offer -W "$words"
      return 0
    fi
    offer=$(_polis_argument "$path")
  fi
  case $offer in
    domains) _polis_offer -W "$(_polis_domains)" ;;
    files) compopt -o filenames 2>/dev/null; _polis_offer -f ;;
    directories) compopt -o filenames 2>/dev/null; _polis_offer -d ;;
    "choices "*) _polis_offer -W "${offer#choices }" ;;
  esac
  return 0
}
complete -F _polis polis
)sh";

std::string joined(const std::vector<std::string>& words) {
  return fmt::format("{}", fmt::join(words, "\n"));
}

std::string offer_text(Offer offer, const std::vector<std::string>& choices) {
  switch (offer) {
    case Offer::kNothing:
      return "nothing";
    case Offer::kFiles:
      return "files";
    case Offer::kDirectories:
      return "directories";
    case Offer::kDomains:
      return "domains";
    case Offer::kChoices:
      break;
  }
  return "choices " + joined(choices);
}

}  // namespace

std::string bash_completion(const CompletedWord& top) {
  std::string words, options, values, arguments;
  for_each_word(top, [&](const CompletedWord& word) {
    const std::string path = shell_quoted(word.path);
    std::vector<std::string> names;
    for (const CompletedWord& subword : word.words) names.push_back(subword.path.substr(subword.path.rfind(' ') + 1));
    if (!names.empty()) words += fmt::format("    {}) echo {} ;;\n", path, shell_quoted(joined(names)));
    names.clear();
    for (const CompletedOption& option : word.options) {
      names.insert(names.end(), option.names.begin(), option.names.end());
      if (!option.takes_value) continue;
      for (const std::string& name : option.names) {
        values += fmt::format("    {}) echo {} ;;\n", shell_quoted(word.path + ":" + name),
                              shell_quoted(offer_text(option.offer, option.choices)));
      }
    }
    options += fmt::format("    {}) echo {} ;;\n", path, shell_quoted(joined(names)));
    if (word.argument != Offer::kNothing) {
      arguments += fmt::format("    {}) echo {} ;;\n", path, shell_quoted(offer_text(word.argument, word.choices)));
    }
  });
  return fmt::format(
      "{}_polis_words() {{\n  case $1 in\n{}  esac\n}}\n_polis_options() {{\n  case $1 in\n{}  esac\n}}\n"
      "# What follows an option that takes a value; nothing for others.\n"
      "_polis_value() {{\n  case $1:$2 in\n{}  esac\n}}\n_polis_argument() {{\n  case $1 in\n{}  esac\n}}\n{}",
      kBegin, words, options, values, arguments, kEnd);
}

}  // namespace xenopolis::cli
