#include "config/fleet.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <unordered_map>

// toml++ 3.3 asserts, or with NDEBUG lets the compiler assume, that a table's name begins like one; it goes on to say
// properly that "[;" does not if it does neither.
#undef NDEBUG
#define TOML_ASSERT(expression) static_assert(true)
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include "config/name_template.h"
#include "config/text_file.h"
#include "config/toml_outline.h"
#include "config/xl_syntax.h"

namespace xenopolis::config {
namespace {

constexpr size_t kMostBytes = 256 * 1024;
// [domains.NAME] with arrays of tables in it: four; the rest is for people's own ways to write it.
constexpr size_t kMostNesting = 16;

class FleetReader {
 public:
  FleetReader(std::string filename, std::string directory, Problems& problems)
      : filename_(std::move(filename)), directory_(std::move(directory)), problems_(problems) {}

  Fleet read(std::string_view text) {
    if (const auto fault = fault_of_outline(text, kMostNesting)) {
      problems_.add(fmt::format("{}:{}", filename_, fault->line), fault->what);
      return {};
    }
    const toml::parse_result parsed = toml::parse(text, filename_);
    if (!parsed) {
      problems_.add(fmt::format("{}:{}", filename_, parsed.error().source().begin.line),
                    std::string(parsed.error().description()));
      return {};
    }
    read_file(parsed.table());
    return std::move(fleet_);
  }

 private:
  std::string where(const toml::node& value) const {
    return fmt::format("{}:{}", filename_, value.source().begin.line);
  }
  void complain(const toml::node& value, const std::string& what) { problems_.add(where(value), what); }

  void read_file(const toml::table& file) {
    for (const auto& [key, value] : file) {
      if (key == "host" && value.is_table()) {
        for (const auto& [name, setting] : *value.as_table()) read_host(std::string(name.str()), setting);
      } else if (key == "domains" && value.is_table()) {
        read_all_domains(*value.as_table());
      } else if (key == "host" || key == "domains") {
        complain(value, std::string(key.str()) + ": must be a table");
      } else {
        complain(value, std::string(key.str()) + ": a fleet has [host] and [domains.NAME] tables only");
      }
    }
    if (fleet_.domains.empty() && problems_.none()) {
      problems_.add(filename_, "no domains; say [domains.NAME] and below it config = \"FILE\" or kernel = \"FILE\"");
    }
  }

  void read_host(const std::string& key, const toml::node& value) {
    struct Row {
      std::string_view key;
      std::optional<std::string> FleetHost::*member;
      std::vector<std::string_view> values;  // none: any
    };
    const Row rows[] = {{"name", &FleetHost::name, {}},
                        {"backend", &FleetHost::backend, {"auto", "kvm", "hosted"}},
                        {"event_abi", &FleetHost::event_abi, {"fifo", "3l", "2l"}}};
    for (const Row& row : rows) {
      if (row.key != key) continue;
      const std::string text = value.is_string() ? value.as_string()->get() : "";
      if (row.values.empty() ? text.empty()
                             : std::find(row.values.begin(), row.values.end(), text) == row.values.end()) {
        return complain(
            value,
            fmt::format("host.{}: must be {}", key,
                        row.values.empty() ? "a string" : fmt::format("\"{}\"", fmt::join(row.values, "\" or \""))));
      }
      fleet_.host.*row.member = text;
      return;
    }
    complain(value, fmt::format("host.{}: a host has name, backend and event_abi only", key));
  }

  // toml++ keeps them by name.
  static std::vector<std::pair<std::string, const toml::node*>> in_order(const toml::table& table) {
    std::vector<std::pair<std::string, const toml::node*>> members;
    for (const auto& [name, value] : table) members.emplace_back(name.str(), &value);
    std::stable_sort(members.begin(), members.end(), [](const auto& a, const auto& b) {
      return a.second->source().begin.line < b.second->source().begin.line;
    });
    return members;
  }

  void read_all_domains(const toml::table& tables) {
    for (const auto& [name, value] : in_order(tables)) {
      if (const toml::table* table = value->as_table()) {
        read_domains(name, *table);
      } else {
        complain(*value, fmt::format("domains.{}: must be a table", name));
      }
    }
  }

  std::optional<uint32_t> read_number(const toml::node& value, const std::string& key, uint32_t least, uint32_t most) {
    if (value.is_integer() && value.as_integer()->get() >= least && value.as_integer()->get() <= most) {
      return static_cast<uint32_t>(value.as_integer()->get());
    }
    complain(value, fmt::format("{}: must be a number from {} to {}", key, least, most));
    return std::nullopt;
  }

  // A key of xl.cfg with TOML's value.
  void read_setting(const std::string& key, const toml::node& value, std::vector<Setting>& settings) {
    Setting setting{key, where(value), std::nullopt, 0, false};
    if (value.is_string()) {
      setting.value = value.as_string()->get();
    } else if (value.is_integer()) {
      setting.value = std::to_string(value.as_integer()->get());
    } else if (value.is_boolean()) {
      setting.value = value.as_boolean()->get() ? "1" : "0";
    } else if (value.is_array()) {
      setting.items = value.as_array()->size();
    } else {
      return complain(value, key + ": must be a string, a whole number, true, false or an array");
    }
    settings.push_back(std::move(setting));
  }

  std::vector<Setting> read_config(const toml::node& value) {
    if (!value.is_string()) {
      complain(value, "config: must be a string, a file like those of xl");
      return {};
    }
    const std::string path = std::filesystem::path(directory_) / value.as_string()->get();
    const auto text = read_text(path, kMostXlConfigBytes);
    if (!text) {
      complain(value, "config: " + text.error().message());
      return {};
    }
    return parse_xl_syntax(*text, path, {}, problems_);
  }

  void read_domains(const std::string& name, const toml::table& table) {
    std::vector<Setting> settings, own;
    uint32_t count = 1, start = 1;
    const size_t problems_before = problems_.count();
    for (const auto& [key, value] : in_order(table)) {
      if (key == "config") {
        settings = read_config(*value);
        if (problems_.count() != problems_before) return;
      } else if (key == "count") {
        count = read_number(*value, key, 1, kMaxCount).value_or(1);
      } else if (key == "start") {
        start = read_number(*value, key, 0, 1'000'000'000).value_or(1);
      } else {
        read_setting(key, *value, own);
      }
    }
    settings.push_back({"name", where(table), name, 0, false});
    settings.insert(settings.end(), own.begin(), own.end());
    const toolstack::DomainSpec spec = to_spec(settings, where(table), directory_, problems_);
    if (problems_.count() != problems_before) return;
    if (fleet_.domains.size() + count > kMaxCount) {
      return complain(table, fmt::format("domains.{}: a host has at most {} domains", name, kMaxCount));
    }
    auto specs = multiply(spec, count, start);
    if (!specs) return complain(table, fmt::format("domains.{}: {}", name, specs.error().what));
    for (toolstack::DomainSpec& one : *specs) {
      const auto [known, is_new] = tables_by_name_.emplace(one.name, name);
      if (!is_new) {
        return complain(table,
                        fmt::format("domains.{}: the name {} is taken by domains.{}", name, one.name, known->second));
      }
      fleet_.domains.push_back(std::move(one));
    }
  }

  const std::string filename_;
  const std::string directory_;
  Problems& problems_;
  Fleet fleet_;
  std::unordered_map<std::string, std::string> tables_by_name_;
};

}  // namespace

Result<Fleet> parse_fleet(std::string_view text, const std::string& filename, const std::string& directory) {
  Problems problems;
  if (text.size() > kMostBytes) problems.add(filename, fmt::format("more than {} KiB", kMostBytes / 1024));
  if (!problems.none()) return tl::unexpected<Error>(problems.error());
  Fleet fleet = FleetReader(filename, directory, problems).read(text);
  if (!problems.none()) return tl::unexpected<Error>(problems.error());
  return fleet;
}

Result<Fleet> read_fleet(const std::string& path) {
  const std::string text = TRY(read_text_or_input(path, kMostBytes));
  return parse_fleet(text, path == "-" ? "standard input" : path, std::filesystem::path(path).parent_path());
}

}  // namespace xenopolis::config
