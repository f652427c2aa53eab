#include "config/name_template.h"

#include <fmt/format.h>

namespace xenopolis::config {
namespace {

struct Template {
  std::string before, after;
  unsigned digits = 0;     // at least so many, filled up with zeros
  bool has_place = false;  // braces
};

Result<Template> parse_template(const std::string& text) {
  Template parts;
  const size_t open = text.find('{');
  const size_t close = text.find('}');
  if (open == std::string::npos && close == std::string::npos) {
    parts.before = text;
    return parts;
  }
  const auto refuse = [&text] {
    return fail(0, fmt::format("\"{}\": in a name {{}} or {{:04}} may stand once, for a number", text));
  };
  if (open == std::string::npos || close == std::string::npos || close < open) return refuse();
  parts.has_place = true;
  parts.before = text.substr(0, open);
  parts.after = text.substr(close + 1);
  if (parts.after.find_first_of("{}") != std::string::npos) return refuse();
  const std::string format = text.substr(open + 1, close - open - 1);
  if (format.empty()) return parts;
  if (format.size() != 3 || !format.starts_with(":0") || format[2] < '1' || format[2] > '9') {
    return refuse();
  }
  parts.digits = static_cast<unsigned>(format[2] - '0');
  return parts;
}

std::string number_in(const Template& parts, uint32_t number) {
  if (!parts.has_place) return parts.before;
  return fmt::format("{}{:0{}}{}", parts.before, number, parts.digits, parts.after);
}

Status check_name(const std::string& name) {
  toolstack::DomainSpec probe;
  probe.name = name;
  probe.image = "/a";
  const Status checked = toolstack::check(probe);
  if (checked) return {};
  const std::string& what = checked.error().what;  // "name: what is wrong"
  return fail(0, what.substr(what.find(": ") + 2));
}

}  // namespace

Result<std::string> expand_name(const std::string& name_template, uint32_t number) {
  std::string name = number_in(TRY(parse_template(name_template)), number);
  TRY_VOID(check_name(name));
  return name;
}

Result<std::vector<toolstack::DomainSpec>> multiply(const toolstack::DomainSpec& spec, uint32_t count, uint32_t start) {
  if (count == 0 || count > kMaxCount) {
    return fail(0, fmt::format("{} domains: a host has 1 to {}", count, kMaxCount));
  }
  if (start > UINT32_MAX - count) return fail(0, fmt::format("numbers from {}: too high", start));
  if (count > 1 && !spec.uuid.empty()) {
    return fail(0, fmt::format("uuid: {} domains cannot have one; leave it out", count));
  }
  Template parts = TRY(parse_template(spec.name));
  if (count > 1 && !parts.has_place) {
    parts.before += '-';
    parts.has_place = true;
  }
  std::vector<toolstack::DomainSpec> specs(count, spec);
  for (uint32_t i = 0; i < count; ++i) specs[i].name = number_in(parts, start + i);
  // The last is as long as any; all have the same characters.
  TRY_VOID(check_name(specs.back().name));
  return specs;
}

}  // namespace xenopolis::config
