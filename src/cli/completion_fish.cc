#include <fmt/format.h>

#include "cli/completion_scripts.h"

namespace xenopolis::cli {
namespace {

constexpr const char* kBegin = R"sh(# Completion of polis for fish: polis completion fish | source

# The line's words without options, and those that say which host is meant.
function __polis_words
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
        else if contains -- $word --host --run-dir
            set skip 1
        else if not string match -q -- '-*' $word
            echo $word
        end
    end
end

# Whether the words of polis are these; `--last`: and none of those that follow here came yet.
function __polis_at
    set -l words (__polis_words)
    set -l wanted (string split -n ' ' -- $argv[1])
    set -l count (count $wanted)
    if test (count $words) -lt $count
        return 1
    end
    if test $count -gt 0; and test "$words[1..$count]" != "$wanted"
        return 1
    end
    if test "$argv[2]" = --last; and test (count $words) -gt $count
        return 1
    end
    return 0
end

# Names of the domains of the host that the line means.
function __polis_domains
    set -l line (commandline -opc)
    set -l host
    for i in (seq 2 (count $line))
        if contains -- $line[$i] --host --run-dir; and test $i -lt (count $line)
            set host $line[$i] $line[(math $i + 1)]
        end
    end
    polis $host list --names 2>/dev/null
end

complete -c polis -f
)sh";

std::string arguments(Offer offer, const std::vector<std::string>& choices) {
  switch (offer) {
    case Offer::kNothing:
      return "";
    case Offer::kFiles:
      return " -F";
    case Offer::kDirectories:
      return " -a '(__fish_complete_directories)'";
    case Offer::kDomains:
      return " -a '(__polis_domains)'";
    case Offer::kChoices:
      break;
  }
  return " -a " + fish_quoted(fmt::format("{}", fmt::join(choices, " ")));
}

std::string at(const std::string& path, const char* more = "") {
  return "complete -c polis -n " + fish_quoted("__polis_at " + fish_quoted(path) + more);
}

}  // namespace

std::string fish_completion(const CompletedWord& top) {
  std::string script = kBegin;
  for_each_word(top, [&script](const CompletedWord& word) {
    for (const CompletedWord& subword : word.words) {
      script += fmt::format("{} -a {} -d {}\n", at(word.path, " --last"),
                            subword.path.substr(subword.path.rfind(' ') + 1), fish_quoted(subword.description));
    }
    // The options of all of polis are offered by its own line.
    for (const CompletedOption& option : word.options) {
      script += at(word.path);
      for (const std::string& name : option.names) {
        script += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      }
      // -x: no files beside what is offered.
      if (option.takes_value)
        script += (option.offer == Offer::kFiles ? " -r" : " -x") + arguments(option.offer, option.choices);
      script += " -d " + fish_quoted(option.description) + "\n";
    }
    if (word.argument != Offer::kNothing) {
      script += at(word.path) + arguments(word.argument, word.choices) + "\n";
    }
  });
  return script;
}

}  // namespace xenopolis::cli
