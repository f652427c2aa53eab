#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "console/client_protocol.h"

namespace xenopolis::console {
namespace {

using nlohmann::json;

constexpr const char* kPastNames[] = {"all", "since", "from", "none"};

// The members of an object, each of the type that it must have or absent. The first that is not is remembered.
class Members {
 public:
  explicit Members(const json& object) : object_(object) {}

  void read(const char* name, bool& value) {
    if (const json* member = find(name, &json::is_boolean)) value = member->get<bool>();
  }
  template <class Number>
  void read(const char* name, Number& value) {
    const json* member = find(name, &json::is_number_unsigned);
    if (member == nullptr) return;
    const auto number = member->get<uint64_t>();
    if (number > std::numeric_limits<Number>::max()) return blame(name);
    value = static_cast<Number>(number);
  }
  void read(const char* name, std::string& value) {
    if (const json* member = find(name, &json::is_string)) value = member->get<std::string>();
  }
  const json* array(const char* name) { return find(name, &json::is_array); }
  void blame(const char* name) {
    if (fault_.empty()) fault_ = name;
  }
  const std::string& fault() const { return fault_; }

 private:
  const json* find(const char* name, bool (json::*is_right)() const noexcept) {
    const auto found = object_.find(name);
    if (found == object_.end()) return nullptr;
    if (((*found).*is_right)()) return &*found;
    blame(name);
    return nullptr;
  }

  const json& object_;
  std::string fault_;
};

}  // namespace

std::string to_line(const ClientRequest& request) {
  json line{{"past", kPastNames[static_cast<size_t>(request.past)]}, {"follow", request.follow}};
  if (request.past == Past::kSince) line["since_ms"] = request.since_ms;
  if (request.past == Past::kFrom) line["from"] = request.from;
  if (request.op == ClientRequest::Op::kAttach) {
    line["op"] = "attach";
    line["domain"] = request.domain;
    line["console"] = request.console;
    line["write"] = request.write;
    line["force"] = request.force;
  } else {
    line["op"] = "watch";
    line["patterns"] = request.patterns;
  }
  return line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

Result<ClientRequest> parse_request(std::string_view line) {
  const json object = json::parse(line, nullptr, false);
  if (!object.is_object()) return fail(EINVAL, "a request is a line with a JSON object");
  Members members(object);
  ClientRequest request;
  std::string op, past = "all";
  members.read("op", op);
  members.read("domain", request.domain);
  members.read("console", request.console);
  members.read("past", past);
  members.read("since_ms", request.since_ms);
  members.read("from", request.from);
  members.read("follow", request.follow);
  members.read("write", request.write);
  members.read("force", request.force);
  if (const json* patterns = members.array("patterns")) {
    for (const json& pattern : *patterns) {
      if (!pattern.is_string() || pattern.get_ref<const std::string&>().size() > kMaxPatternBytes ||
          request.patterns.size() == kMaxPatterns) {
        members.blame("patterns");
        break;
      }
      request.patterns.push_back(pattern);
    }
  }
  const auto* named = std::find(std::begin(kPastNames), std::end(kPastNames), past);
  if (named == std::end(kPastNames)) {
    members.blame("past");
  } else {
    request.past = static_cast<Past>(named - std::begin(kPastNames));
  }
  if (op == "watch") {
    request.op = ClientRequest::Op::kWatch;
    if (request.past == Past::kFrom) members.blame("past");
  } else if (op != "attach") {
    return fail(ENOSYS, fmt::format("no operation \"{}\"", op));
  } else if (request.domain.empty()) {
    members.blame("domain");
  }
  if (!members.fault().empty()) return fail(EINVAL, fmt::format("what a request says as \"{}\"", members.fault()));
  return request;
}

}  // namespace xenopolis::console
