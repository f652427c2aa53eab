#include "cli/creation.h"

#include <fmt/format.h>

#include <filesystem>

#include "base/clock.h"
#include "base/printable.h"
#include "cli/progress_line.h"
#include "toolstack/uuid.h"

namespace xenopolis::cli {
namespace {

using nlohmann::json;

// To destroy costs the cells and polisd less than to create.
constexpr size_t kDestroyWindow = 512;

// For a new polisd to take away what its predecessor has half created.
constexpr uint64_t kSettlePatienceNs = 30'000'000'000;
constexpr uint64_t kLookAgainNs = 20'000'000;

std::string absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}

double seconds_since(uint64_t began_ns) {
  return static_cast<double>(MonotonicClock().now_ns() - began_ns) / 1e9;
}

// Has the polisd that has gone created it? Its UUID, which `request` has, tells. What is half created is taken away by
// the polisd that has come: this waits for it, and creates the domain again. So it does with one that was created and
// has ended since, which nothing tells from the others.
void create_unless_there(HostClient& client, const json& request, uint64_t give_up_ns,
                         const toolstack::ControlClient::Reply& answer) {
  client.control().request({{"op", "domain"}, {"name", request["name"]}}, [=, &client](const Result<json>& found) {
    if (!found && found.error().code == ENOENT) return client.control().request(request, answer);
    if (!found || (found->at("uuid") == request["uuid"] && found->at("stage") == "up")) return answer(found);
    if (found->at("uuid") != request["uuid"]) {
      return answer(fail(EEXIST, fmt::format("a domain called {} exists", request["name"].get<std::string>())));
    }
    const uint64_t now_ns = MonotonicClock().now_ns();
    if (now_ns >= give_up_ns) return answer(fail(ETIMEDOUT, "it is neither created nor taken away"));
    client.loop().at(now_ns + kLookAgainNs, [=, &client] { create_unless_there(client, request, give_up_ns, answer); });
  });
}

}  // namespace

Result<Problems> destroy_domains(HostClient& client, const std::vector<CreatedDomain>& domains, bool quiet) {
  Problems problems;
  ProgressLine progress(!quiet && domains.size() > 1);
  size_t done = 0;
  HostClient::Series series;
  series.count = domains.size();
  series.window = kDestroyWindow;
  series.request = [&](size_t index) { return json{{"op", "destroy"}, {"domid", domains[index].domid}}; };
  series.answered = [&](size_t index, const Result<json>& answer) {
    ++done;
    if (!answer && answer.error().code != ENOENT) {
      problems[for_people(answer.error())].push_back(domains[index].name);
    }
    return true;
  };
  series.tick = [&] { progress.show(fmt::format("{} of {} domains destroyed", done, domains.size())); };
  TRY_VOID(client.ask_series(series));
  for (size_t index = done; index < domains.size(); ++index) {
    problems["it stays, because this was interrupted"].push_back(domains[index].name);
  }
  return problems;
}

Result<Creation> create_domains(HostClient& client, const std::vector<toolstack::DomainSpec>& specs,
                                const CreationOptions& options) {
  Creation creation;
  creation.wanted = specs.size();
  const uint64_t began_ns = MonotonicClock().now_ns();
  ProgressLine progress(!options.quiet && specs.size() > 1);
  size_t failed = 0;
  size_t succeeded = 0;
  std::vector<DomId> domids(specs.size(), kDom0);  // kDom0: not created
  // Known beforehand: by them domains are recognized.
  std::vector<std::string> uuids;
  for (const toolstack::DomainSpec& spec : specs) {
    const auto given = toolstack::parse_uuid(spec.uuid);
    uuids.push_back(given || spec.uuid.empty() ? toolstack::to_text(given.value_or(toolstack::random_uuid()))
                                               : spec.uuid);
  }
  HostClient::Series series;
  series.count = specs.size();
  series.window = options.window;
  series.request = [&](size_t index) {
    toolstack::DomainSpec spec = specs[index];
    spec.image = absolute(spec.image);
    spec.ramdisk = absolute(spec.ramdisk);
    spec.uuid = uuids[index];
    json request = toolstack::to_json(spec);
    request["op"] = "create";
    return request;
  };
  series.repeat = [&](size_t index, const toolstack::ControlClient::Reply& answer) {
    create_unless_there(client, series.request(index), MonotonicClock().now_ns() + kSettlePatienceNs, answer);
  };
  series.answered = [&](size_t index, const Result<json>& answer) {
    if (answer) {
      domids[index] = answer->at("domid").get<DomId>();
      ++succeeded;
      return true;
    }
    ++failed;
    creation.failures[for_people(answer.error())].push_back(specs[index].name);
    return !options.all_or_nothing;
  };
  series.tick = [&] {
    progress.show(fmt::format("{} of {} domains created{}, {:.1f} s", succeeded, specs.size(),
                              failed == 0 ? "" : fmt::format(", {} failed", failed), seconds_since(began_ns)));
  };
  TRY_VOID(client.ask_series(series));
  for (size_t index = 0; index < specs.size(); ++index) {
    if (domids[index] != kDom0) creation.created.push_back({specs[index].name, domids[index]});
  }
  creation.interrupted = client.interrupted();
  creation.seconds = seconds_since(began_ns);
  progress.clear();
  creation.host_is_gone = !client.control().is_connected();
  if (creation.is_complete() || !options.all_or_nothing || creation.host_is_gone) return creation;
  client.forget_interruption();
  const std::vector<CreatedDomain> taken_back = std::exchange(creation.created, {});
  creation.left = TRY(destroy_domains(client, taken_back, options.quiet));
  creation.taken_back = taken_back.size() - count_of(creation.left);
  return creation;
}

void print_problems(const std::string& word, const Problems& problems) {
  for (const auto& [why, names] : problems) {
    const std::string others = names.size() == 1 ? "" : fmt::format(" and {} more", names.size() - 1);
    fmt::print(stderr, "polis {}: {}{}: {}\n", word, names.front(), others, printable_lines(why));
  }
}

size_t count_of(const Problems& problems) {
  size_t count = 0;
  for (const auto& [why, names] : problems) count += names.size();
  return count;
}

int report_creation(const std::string& word, const Creation& creation) {
  print_problems(word, creation.failures);
  print_problems(word, creation.left);
  if (creation.is_complete()) return 0;
  if (creation.host_is_gone) {
    fmt::print(stderr, "polis {}: {} of {} domains had been created by then\n", word, creation.created.size(),
               creation.wanted);
  } else if (creation.taken_back != 0) {
    fmt::print(stderr, "polis {}: the {} created before were destroyed again\n", word, creation.taken_back);
  } else if (creation.wanted > 1) {
    fmt::print(stderr, "polis {}: {}{} of {} domains were created{}\n", word,
               creation.interrupted != 0 ? "interrupted: " : "", creation.created.size(), creation.wanted,
               creation.created.empty() ? "" : " and stay");
  }
  return creation.interrupted != 0 ? 128 + creation.interrupted : 1;
}

}  // namespace xenopolis::cli
