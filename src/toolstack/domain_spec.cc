#include "toolstack/domain_spec.h"

#include <fmt/format.h>
#include <xen/event_channel.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "domain/memory_layout.h"
#include "toolstack/domain_consoles.h"
#include "toolstack/uuid.h"

namespace xenopolis::toolstack {
namespace {

using domain::EndAction;
using nlohmann::json;

constexpr uint64_t kMaxMemoryMib = 512 * 1024;
constexpr std::string_view kActionNames[] = {"destroy", "restart", "preserve", "rename-restart"};  // by EndAction

// Calls visit(name, member) for each member of a spec, in alphabetical order.
template <class Spec, class Visitor>
void visit_members(Spec& spec, Visitor visit) {
  visit("command_line", spec.command_line);
  visit("consoles", spec.consoles);
  visit("image", spec.image);
  visit("max_event_channels", spec.max_event_channels);
  visit("max_grant_frames", spec.max_grant_frames);
  visit("memory_mib", spec.memory_mib);
  visit("name", spec.name);
  visit("on_crash", spec.on_crash);
  visit("on_poweroff", spec.on_poweroff);
  visit("on_reboot", spec.on_reboot);
  visit("on_watchdog", spec.on_watchdog);
  visit("paused", spec.paused);
  visit("ramdisk", spec.ramdisk);
  visit("uuid", spec.uuid);
}

Status read(const json& member, std::string& value) {
  if (!member.is_string()) return fail(EINVAL, "must be a string");
  value = member.get_ref<const std::string&>();
  return {};
}

Status read(const json& member, bool& value) {
  if (!member.is_boolean()) return fail(EINVAL, "must be true or false");
  value = member.get<bool>();
  return {};
}

template <class Number>
Status read(const json& member, Number& value) {
  constexpr uint64_t kMost = std::numeric_limits<Number>::max();
  // Numbers that a program puts into a json without care are signed ones.
  if (!member.is_number_integer() || (!member.is_number_unsigned() && member.get<int64_t>() < 0) ||
      member.get<uint64_t>() > kMost) {
    return fail(EINVAL, fmt::format("must be a number from 0 to {}", kMost));
  }
  value = static_cast<Number>(member.get<uint64_t>());
  return {};
}

Status read(const json& member, EndAction& value) {
  std::string name;
  TRY_VOID(read(member, name));
  value = TRY(end_action_named(name));
  return {};
}

template <class Value>
json to_member(const Value& value) {
  return value;
}
json to_member(EndAction action) {
  return std::string(name_of(action));
}

// What goes over the control socket is JSON, whose strings are UTF-8, and lands in C strings.
bool is_text(const std::string& bytes) {
  if (bytes.find('\0') != std::string::npos) return false;
  if (std::all_of(bytes.begin(), bytes.end(), [](char c) { return static_cast<signed char>(c) >= 0; })) return true;
  const auto written = [&bytes](json::error_handler_t on_error) { return json(bytes).dump(-1, ' ', false, on_error); };
  return written(json::error_handler_t::ignore) == written(json::error_handler_t::replace);
}

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() < sizeof(domain::DomainRecord::name) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

Status check_path(std::string_view member, const std::string& path, size_t room) {
  if (!is_text(path)) return fail(EINVAL, fmt::format("{}: the path must be UTF-8 without NUL", member));
  if (!path.starts_with('/')) return fail(EINVAL, fmt::format("{}: \"{}\" is not an absolute path", member, path));
  if (path.size() >= room) {
    return fail(EINVAL, fmt::format("{}: a path of {} bytes; at most {}", member, path.size(), room - 1));
  }
  return {};
}

Status check_range(std::string_view member, uint64_t value, uint64_t least, uint64_t most) {
  if (value >= least && value <= most) return {};
  return fail(EINVAL, fmt::format("{}: {} is not in {} to {}", member, value, least, most));
}

}  // namespace

std::string_view name_of(EndAction action) {
  return kActionNames[static_cast<size_t>(action)];
}

Result<EndAction> end_action_named(std::string_view name) {
  for (size_t i = 0; i < std::size(kActionNames); ++i) {
    if (kActionNames[i] == name) return static_cast<EndAction>(i);
  }
  return fail(EINVAL, fmt::format("\"{}\" is none of destroy, restart, preserve, rename-restart", name));
}

json to_json(const DomainSpec& spec) {
  json object = json::object();
  visit_members(spec, [&object](const char* name, const auto& value) { object[name] = to_member(value); });
  return object;
}

Result<DomainSpec> spec_from_json(const json& object) {
  if (!object.is_object()) return fail(EINVAL, "a domain is described by a JSON object");
  DomainSpec spec;
  size_t known = 0;
  Status status;
  visit_members(spec, [&](const char* name, auto& value) {
    const auto member = object.find(name);
    if (member == object.end()) return;
    ++known;
    const Status took = read(*member, value);
    if (!took && status) status = fail(took.error().code, fmt::format("{}: {}", name, took.error().what));
  });
  TRY_VOID(std::move(status));
  if (known != object.size()) {
    for (auto member = object.begin(); member != object.end(); ++member) {
      bool is_known = false;
      visit_members(spec, [&](const char* name, const auto&) { is_known |= member.key() == name; });
      if (!is_known) return fail(EINVAL, fmt::format("{}: no such member of a domain", member.key()));
    }
  }
  for (const char* name : {"name", "image"}) {
    if (!object.contains(name)) return fail(EINVAL, fmt::format("{}: is missing", name));
  }
  return spec;
}

Status check(const DomainSpec& spec) {
  constexpr uint32_t kFirstChannels = 2;  // xenstore's and the console's
  if (!is_name(spec.name)) {
    return fail(EINVAL, fmt::format("name: {}; must be 1 to {} characters of A-Z a-z 0-9 . _ -",
                                    is_text(spec.name) ? "\"" + spec.name + "\"" : "no text",
                                    sizeof(domain::DomainRecord::name) - 1));
  }
  if (spec.name == "Domain-0") return fail(EINVAL, "name: Domain-0 is the host itself");
  TRY_VOID(check_range("memory_mib", spec.memory_mib, 1, kMaxMemoryMib));
  TRY_VOID(check_path("image", spec.image, sizeof(domain::DomainConfiguration::image)));
  if (!spec.ramdisk.empty()) {
    TRY_VOID(check_path("ramdisk", spec.ramdisk, sizeof(domain::DomainConfiguration::ramdisk)));
  }
  if (!is_text(spec.command_line)) return fail(EINVAL, "command_line: must be UTF-8 without NUL");
  constexpr size_t kRoom = sizeof(domain::DomainRecord::command_line);
  if (spec.command_line.size() >= kRoom) {
    return fail(EINVAL, fmt::format("command_line: {} bytes; at most {}", spec.command_line.size(), kRoom - 1));
  }
  TRY_VOID(check_range("max_event_channels", spec.max_event_channels, kFirstChannels, EVTCHN_FIFO_NR_CHANNELS - 1));
  TRY_VOID(check_range("max_grant_frames", spec.max_grant_frames, 1, domain::kMaxGrantFrames));
  TRY_VOID(check_range("consoles", spec.consoles, 0, kMaxFurtherConsoles));
  if (!spec.uuid.empty() && !parse_uuid(spec.uuid)) {
    return fail(EINVAL, "uuid: must be like 01234567-89ab-cdef-0123-456789abcdef");
  }
  return {};
}

}  // namespace xenopolis::toolstack
