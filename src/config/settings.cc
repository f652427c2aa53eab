#include "config/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <map>
#include <set>

#include "config/name_template.h"
#include "config/other_keys.h"

namespace xenopolis::config {
namespace {

using domain::EndAction;
using toolstack::DomainSpec;

// libxl's, where neither memory nor maxmem is given (libxl__domain_build_info_setdefault).
constexpr uint64_t kDefaultMemoryMib = 32;

// What a host would say of a member, all others being good.
template <class Set>
std::optional<std::string> fault_of(Set set) {
  DomainSpec probe;
  probe.name = "a";
  probe.image = std::string("/a");
  set(probe);
  const Status checked = toolstack::check(probe);
  if (checked) return std::nullopt;
  const std::string& what = checked.error().what;  // "member: what is wrong"
  const size_t colon = what.find(": ");
  return colon == std::string::npos ? what : what.substr(colon + 2);
}

// strtol with base 0, as libxlutil has it; nothing negative is of use here.
std::optional<uint64_t> to_number(const std::string& text) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const long long number = strtoll(text.c_str(), &end, 0);
  if (errno != 0 || end != text.c_str() + text.size()) return std::nullopt;
  return static_cast<uint64_t>(number);
}

class Interpreter {
 public:
  Interpreter(const std::vector<Setting>& settings, std::string source, std::string directory, Problems& problems)
      : source_(std::move(source)), directory_(std::move(directory)), problems_(problems) {
    for (const Setting& setting : settings) by_key_[setting.key] = &setting;
  }

  DomainSpec interpret() {
    read_name();
    read_kind();
    read_memory();
    read_images();
    read_command_line();
    read_limits();
    read_actions();
    if (const Setting* uuid = take("uuid"); uuid != nullptr) {
      if (const std::string* text = text_of(uuid)) spec_.uuid = *text;
      check(uuid, [this](DomainSpec& probe) { probe.uuid = spec_.uuid; });
    }
    for (const auto& [key, setting] : by_key_) {
      if (taken_.contains(key)) continue;
      if (const auto reason = why_not(*setting)) complain(setting, *reason);
    }
    for (const auto& [setting, what] : complaints_) problems_.add(setting->where, setting->key + ": " + what);
    return std::move(spec_);
  }

 private:
  const Setting* take(const std::string& key) {
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) return nullptr;
    taken_.insert(key);
    return found->second;
  }
  void complain(const Setting* setting, std::string what) { complaints_.emplace(setting, std::move(what)); }
  template <class Set>
  void check(const Setting* setting, Set set) {
    if (const auto fault = fault_of(set)) complain(setting, *fault);
  }

  const std::string* text_of(const Setting* setting) {
    if (setting == nullptr) return nullptr;
    if (setting->value) return &*setting->value;
    complain(setting, fmt::format("is a list; write a single value: {} = \"...\"", setting->key));
    return nullptr;
  }
  std::optional<uint64_t> number_of(const Setting* setting) {
    const std::string* text = text_of(setting);
    if (text == nullptr) return std::nullopt;
    const auto number = to_number(*text);
    if (setting->added || !number) {
      complain(setting, setting->added ? "is a number: = sets it, += does not add to it"
                                       : fmt::format("\"{}\" is not a number", *text));
      return std::nullopt;
    }
    return number;
  }
  // A number that may have one value only.
  void read_only(const std::string& key, uint64_t only, const std::string& why) {
    const Setting* setting = take(key);
    const auto number = number_of(setting);
    if (number && *number != only) complain(setting, fmt::format("{}; {} is the only value", why, only));
  }

  void read_name() {
    const Setting* setting = take("name");
    if (setting == nullptr) return problems_.add(source_, "name: is missing; say name = \"...\"");
    if (const std::string* text = text_of(setting)) {
      spec_.name = *text;
      if (const auto expanded = expand_name(*text, 1); !expanded) complain(setting, expanded.error().what);
    }
  }

  void read_kind() {
    const Setting* type = take("type");
    if (const std::string* text = text_of(type); text != nullptr && *text != "pv") {
      complain(type, fmt::format("\"{}\": this host runs PV guests only; say type = \"pv\" or nothing", *text));
    }
    const Setting* builder = take("builder");
    if (const std::string* text = text_of(builder); text != nullptr && *text != "generic" && *text != "linux") {
      complain(builder, fmt::format("\"{}\": this host runs PV guests only; leave it out", *text));
    }
    read_only("vcpus", 1, "a domain has one vCPU here");
    read_only("maxvcpus", 1, "a domain has one vCPU here");
  }

  void read_memory() {
    const Setting* memory = take("memory");
    const Setting* most = take("maxmem");
    const auto now = number_of(memory), later = number_of(most);
    spec_.memory_mib = now ? *now : later ? *later : kDefaultMemoryMib;
    if (now && later && *now != *later) {
      complain(most, fmt::format("{} differs from memory = {}, and memory does not grow or shrink here; leave it out",
                                 *later, *now));
    }
    if (const Setting* given = now ? memory : most; given != nullptr) {
      check(given, [this](DomainSpec& probe) { probe.memory_mib = spec_.memory_mib; });
    }
  }

  std::string absolute(const std::string& path) const {
    if (path.empty() || path[0] == '/') return path;
    std::error_code error;
    const std::filesystem::path base =
        directory_.empty() ? std::filesystem::current_path(error) : std::filesystem::absolute(directory_, error);
    return (base / path).lexically_normal();
  }

  void read_images() {
    const Setting* kernel = take("kernel");
    const std::string* path = text_of(kernel);
    if (kernel == nullptr) problems_.add(source_, "kernel: is missing; say kernel = \"FILE\", a PV guest's image");
    if (path != nullptr) {
      spec_.image = absolute(*path);
      check(kernel, [this](DomainSpec& probe) { probe.image = spec_.image; });
    }
    const Setting* ramdisk = take("ramdisk");
    if (const std::string* file = text_of(ramdisk)) {
      spec_.ramdisk = absolute(*file);
      check(ramdisk, [this](DomainSpec& probe) { probe.ramdisk = spec_.ramdisk; });
    }
  }

  // xl: cmdline, or root and extra together, of which it drops the latter where there is the former.
  void read_command_line() {
    const Setting* whole = take("cmdline");
    const Setting* root = take("root");
    const Setting* extra = take("extra");
    const Setting* last = whole;
    if (const std::string* text = text_of(whole)) spec_.command_line = *text;
    for (const Setting* part : {root, extra}) {
      const std::string* text = text_of(part);
      if (text == nullptr) continue;
      if (whole != nullptr) {
        complain(part, "xl ignores it beside cmdline; write everything into cmdline");
        continue;
      }
      if (!spec_.command_line.empty()) spec_.command_line += ' ';
      spec_.command_line += (part == root ? "root=" : "") + *text;
      last = part;
    }
    if (last != nullptr) check(last, [this](DomainSpec& probe) { probe.command_line = spec_.command_line; });
  }

  void read_limit(const std::string& key, uint32_t DomainSpec::*member) {
    const Setting* setting = take(key);
    const auto number = number_of(setting);
    if (!number) return;
    const auto value = static_cast<uint32_t>(std::min<uint64_t>(*number, std::numeric_limits<uint32_t>::max()));
    spec_.*member = value;
    check(setting, [&](DomainSpec& probe) { probe.*member = value; });
  }
  void read_limits() {
    read_limit("max_event_channels", &DomainSpec::max_event_channels);
    read_limit("max_grant_frames", &DomainSpec::max_grant_frames);
    read_limit("consoles", &DomainSpec::consoles);
  }

  void read_action(const std::string& key, EndAction& action) {
    const Setting* setting = take(key);
    const std::string* text = text_of(setting);
    if (text == nullptr) return;
    const auto named = toolstack::end_action_named(*text);
    if (named) {
      action = *named;
    } else if (*text == "soft-reset" || text->starts_with("coredump-")) {
      complain(setting,
               fmt::format("this host cannot do \"{}\"; use destroy, restart, rename-restart or preserve", *text));
    } else {
      complain(setting, named.error().what);
    }
  }
  void read_actions() {
    read_action("on_poweroff", spec_.on_poweroff);
    read_action("on_reboot", spec_.on_reboot);
    read_action("on_watchdog", spec_.on_watchdog);
    read_action("on_crash", spec_.on_crash);
  }

  const std::string source_;
  const std::string directory_;
  Problems& problems_;
  std::map<std::string, const Setting*> by_key_;
  std::set<std::string> taken_;
  // By settings, which are those of an array: people read the problems in its order.
  std::multimap<const Setting*, std::string> complaints_;
  DomainSpec spec_;
};

}  // namespace

DomainSpec to_spec(const std::vector<Setting>& settings, const std::string& source, const std::string& directory,
                   Problems& problems) {
  return Interpreter(settings, source, directory, problems).interpret();
}

}  // namespace xenopolis::config
