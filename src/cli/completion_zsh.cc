#include <fmt/format.h>

#include <algorithm>

#include "cli/completion_scripts.h"

namespace xenopolis::cli {
namespace {

constexpr const char* kBegin = R"sh(#compdef polis
# Completion of polis for zsh: source <(polis completion zsh), or as _polis in a directory of $fpath.

# Names of the domains of the host that the line means. In the words of a subcommand the ones before it are missing.
_polis_domains() {
  local -a host names line
  line=(${(z)BUFFER})
  local i=${line[(I)--host|--run-dir]}
  (( i > 0 && i < $#line )) && host=($line[i] ${(Q)line[i + 1]})
  names=(${(f)"$(polis $host list --names 2>/dev/null)"})
  compadd -a names
}

)sh";

constexpr const char* kEnd = R"sh(
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _polis "$@"
else
  compdef _polis polis
fi
)sh";

std::string function_name(const std::string& path) {
  std::string name = path.empty() ? "_polis" : "_polis_word_" + path;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == ' ' || c == '-'; }, '_');
  return name;
}

// For the inside of _arguments' descriptions.
std::string described(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '[' || c == ']' || c == ':' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

std::string action(Offer offer, const std::vector<std::string>& choices) {
  switch (offer) {
    case Offer::kNothing:
      return "";
    case Offer::kFiles:
      return "_files";
    case Offer::kDirectories:
      return "_files -/";
    case Offer::kDomains:
      return "_polis_domains";
    case Offer::kChoices:
      break;
  }
  return fmt::format("({})", fmt::join(choices, " "));
}

}  // namespace

std::string zsh_completion(const CompletedWord& top) {
  std::string script = kBegin;
  for_each_word(top, [&script](const CompletedWord& word) {
    script += function_name(word.path) + "() {\n";
    if (!word.words.empty()) {
      script += "  local curcontext=$curcontext state line\n  local -a commands=(\n";
      for (const CompletedWord& subword : word.words) {
        script += fmt::format("    {}\n", shell_quoted(subword.path.substr(subword.path.rfind(' ') + 1) + ":" +
                                                       described(subword.description)));
      }
      script += "  )\n";
    }
    script += word.words.empty() ? "  _arguments -s" : "  _arguments -C -s";
    for (const CompletedOption& option : word.options) {
      for (const std::string& name : option.names) {
        // An option may come again: one of the ways to say it does not exclude the others.
        std::string spec = fmt::format("*{}[{}]", name + (option.takes_value && name.starts_with("--") ? "=" : ""),
                                       described(option.description));
        if (option.takes_value) spec += ":value:" + action(option.offer, option.choices);
        script += " \\\n    " + shell_quoted(spec);
      }
    }
    if (!word.words.empty()) {
      script +=
          " \\\n    '1:word:->word' '*::argument:->argument'\n  case $state in\n    word) _describe word commands ;;\n"
          "    argument)\n      case $words[1] in\n";
      for (const CompletedWord& subword : word.words) {
        script += fmt::format("        {}) {} ;;\n", subword.path.substr(subword.path.rfind(' ') + 1),
                              function_name(subword.path));
      }
      script += "      esac ;;\n  esac\n}\n";
    } else if (word.argument != Offer::kNothing) {
      script += " \\\n    " + shell_quoted("*:argument:" + action(word.argument, word.choices)) + "\n}\n";
    } else {
      script += "\n}\n";
    }
  });
  return script + kEnd;
}

}  // namespace xenopolis::cli
