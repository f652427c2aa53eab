#include "cli/doctor.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <charconv>
#include <filesystem>

#include "cli/doctor_xenstore.h"
#include "cli/processes.h"
#include "console/client_line.h"

namespace xenopolis::cli {
namespace {

using nlohmann::json;

constexpr int kLooks = 4;
constexpr int kBetweenLooksMs = 250;
constexpr int kConsolePatienceMs = 3000;
constexpr size_t kCommSize = 15;  // TASK_COMM_LEN less the NUL

struct AuditedDomain {
  std::string name, uuid;
  uint64_t incarnation = 0;
  bool is_settled = false;
  json entry;
};
using Domains = std::map<DomId, AuditedDomain>;

Domains domains_in(const json& audit) {
  Domains domains;
  for (const json& entry : audit.at("domains")) {
    domains[entry.at("domid")] = {entry.at("name"), entry.at("uuid"), entry.at("incarnation"), entry.at("settled"),
                                  entry};
  }
  return domains;
}

std::string home_of(DomId domid) {
  return fmt::format("/local/domain/{}", domid);
}

// What has to stand in xenstore for a domain, by path.
std::map<std::string, std::string> entries_of(DomId domid, const AuditedDomain& domain) {
  const std::string home = home_of(domid), vm = "/vm/" + domain.uuid;
  const auto number = [&](const char* member) { return fmt::to_string(domain.entry.at(member).get<uint64_t>()); };
  return {{home + "/vm", vm},
          {home + "/name", domain.name},
          {home + "/domid", fmt::to_string(domid)},
          {home + "/memory/target", number("memory_kib")},
          {home + "/store/port", number("store_port")},
          {home + "/store/ring-ref", number("store_gfn")},
          {home + "/console/port", number("console_port")},
          {home + "/console/ring-ref", number("console_gfn")},
          {vm + "/name", domain.name},
          {vm + "/uuid", domain.uuid},
          {fmt::format("/libxl/{}/type", domid), "pv"}};
}

// One look at everything.
class Look {
 public:
  explicit Look(HostClient& host) : host_(host) {}

  Result<Diagnosis> run() {
    const json before = TRY(host_.ask({{"op", "audit"}}));
    domains_ = domains_in(before);
    std::vector<std::string> paths{"/local/domain/0/name"};
    for (const auto& [domid, domain] : domains_) {
      if (!domain.is_settled) continue;
      for (const auto& [path, value] : entries_of(domid, domain)) paths.push_back(path);
    }
    // A domid beyond is of a domain that is gone: they are given out in turn. Few of these are looked for.
    constexpr DomId kBeyond = 256;
    const DomId highest = static_cast<DomId>((domains_.empty() ? 0 : domains_.rbegin()->first) + kBeyond);
    const Result<StoreView> store =
        look_into_xenstore(host_.loop(), host_.directory() + "/xenstored.sock", paths, highest);
    std::vector<DomId> silent;
    const Status asked = ask_consoled(silent);
    const std::vector<ProcessView> processes = all_processes();
    const json after = TRY(host_.ask({{"op", "audit"}}));
    later_ = domains_in(after);

    for (const json& finding : after.at("findings")) {
      report(finding.at("area"), finding.at("domid"), finding.at("text"));
    }
    // Whoever does not answer is told of beside what the others say.
    if (store) {
      compare(*store);
    } else {
      report("xenstore", 0, store.error().message());
    }
    all_answered_ = store && asked;
    if (!asked) report("consoles", 0, asked.error().message());
    for (const DomId domid : silent) {
      if (is_still(domid)) report("consoles", domid, "polis-consoled does not have its console under this name");
    }
    compare(after, processes);
    look_at_logs();
    diagnosis_.counts = after.at("counts");
    diagnosis_.counts["cells"] = after.at("cells").size();
    return std::move(diagnosis_);
  }

  bool all_answered() const { return all_answered_; }

 private:
  void report(const std::string& area, DomId domid, std::string text) {
    const auto domain = domains_.find(domid);
    diagnosis_.disagreements.push_back(
        {area, domid, domain == domains_.end() ? std::string() : domain->second.name, std::move(text)});
  }

  // The same domain before and after all questions, with nothing about to change.
  bool is_still(DomId domid) const {
    const auto before = domains_.find(domid), after = later_.find(domid);
    return before != domains_.end() && after != later_.end() && before->second.is_settled && after->second.is_settled &&
           before->second.incarnation == after->second.incarnation && before->second.name == after->second.name;
  }
  bool was_ever(DomId domid) const { return domains_.contains(domid) || later_.contains(domid); }

  void compare(const StoreView& store) {
    for (const auto& [domid, domain] : domains_) {
      if (!is_still(domid)) continue;
      for (const auto& [path, expected] : entries_of(domid, domain)) {
        const auto found = store.values.find(path);
        if (found == store.values.end()) {
          report("xenstore", domid, fmt::format("{} is not there; it should be \"{}\"", path, expected));
        } else if (found->second != expected) {
          report("xenstore", domid, fmt::format("{} is \"{}\", and should be \"{}\"", path, found->second, expected));
        }
      }
      if (!store.introduced.contains(domid)) report("xenstore", domid, "polis-xenstored does not serve it");
      if (!store.consoles.contains(fmt::to_string(domid))) {
        report("xenstore", domid, fmt::format("/local/domain/0/backend/console/{} is not there", domid));
      }
    }
    if (!store.values.contains("/local/domain/0/name")) report("xenstore", 0, "/local/domain/0/name is not there");
    for (const auto& [directory, names] :
         {std::pair("/local/domain", &store.homes), std::pair("/libxl", &store.private_homes),
          std::pair("/local/domain/0/backend/console", &store.consoles)}) {
      for (const std::string& name : *names) look_for_leftover(directory, name);
    }
    for (const DomId domid : store.introduced) {
      if (!was_ever(domid)) report("xenstore", domid, "polis-xenstored serves it, and there is no such domain");
    }
    look_for_leftover_machines(store.machines);
  }

  void look_for_leftover(const std::string& directory, const std::string& name) {
    uint32_t domid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), domid);
    const bool is_number = error == std::errc() && end == name.data() + name.size() && domid < kDomIdCount;
    if (is_number && (domid == kDom0 || was_ever(static_cast<DomId>(domid)))) return;
    report("xenstore", is_number ? static_cast<DomId>(domid) : DomId{0},
           fmt::format("{}/{} is of no domain that there is", directory, name));
  }

  void look_for_leftover_machines(const std::set<std::string>& machines) {
    std::set<std::string> uuids;
    for (const Domains* domains : {&domains_, &later_}) {
      for (const auto& [domid, domain] : *domains) uuids.insert(domain.uuid);
    }
    for (const std::string& uuid : machines) {
      if (!uuids.contains(uuid)) report("xenstore", 0, fmt::format("/vm/{} is of no domain that there is", uuid));
    }
  }

  Status ask_consoled(std::vector<DomId>& silent) {
    for (const auto& [domid, domain] : domains_) {
      if (domain.is_settled && !TRY(is_known_to_consoled(domid, domain))) silent.push_back(domid);
    }
    return {};
  }

  Result<bool> is_known_to_consoled(DomId domid, const AuditedDomain& domain) {
    console::ClientRequest request;
    request.domain = domain.name;
    request.past = console::Past::kNone;
    request.follow = false;
    const auto line = console::ClientLine::open(host_.directory() + "/console.sock", request, kConsolePatienceMs);
    if (line) return (*line)->answer().at("domid").get<DomId>() == domid;
    if (line.error().code == ENOENT) return false;
    return tl::make_unexpected(line.error());
  }

  void compare(const json& audit, const std::vector<ProcessView>& processes) {
    std::map<pid_t, std::string> expected;
    for (const auto& [name, pid] : audit.at("processes").items()) expected[pid] = name;
    for (const json& cell : audit.at("cells")) expected[cell.at("pid")] = "polis-cell";
    const pid_t keeper = audit.at("processes").at("polis-keeper");
    std::set<pid_t> found;
    for (const ProcessView& process : processes) {
      const auto known = expected.find(process.pid);
      if (known == expected.end()) {
        if (process.parent == keeper && process.state != 'Z') {
          report("processes", 0,
                 fmt::format("{} ({}) was started by polis-keeper, and nobody knows it", process.name, process.pid));
        }
        continue;
      }
      found.insert(process.pid);
      if (process.state == 'Z') {
        report("processes", 0, fmt::format("{} ({}) is dead, and is taken for alive", known->second, process.pid));
      } else if (process.state == 'T' || process.state == 't') {
        report(
            "processes", 0,
            fmt::format("{} ({}) is stopped (kill -CONT {} lets it go on)", known->second, process.pid, process.pid));
      } else if (process.name != known->second.substr(0, kCommSize)) {
        report("processes", 0,
               fmt::format("process {} should be {}, and is {}", process.pid, known->second, process.name));
      }
      diagnosis_.processes.push_back(size_of_process(known->second, process.pid));
    }
    for (const auto& [pid, name] : expected) {
      if (!found.contains(pid)) report("processes", 0, fmt::format("{} ({}) does not exist", name, pid));
    }
  }

  // They outlive their domains, and who has written nothing needs none.
  void look_at_logs() {
    const std::filesystem::path directory = host_.directory() + "/console";
    std::error_code error;
    if (!std::filesystem::is_directory(directory, error)) {
      return report("logs", 0, fmt::format("{} is not there: the consoles are not logged", directory.string()));
    }
    for (const auto& [domid, domain] : domains_) {
      const std::filesystem::path log = directory / (domain.name + ".log");
      const auto status = std::filesystem::symlink_status(log, error);
      if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
        report("logs", domid, fmt::format("{} is no file of its own", log.string()));
      }
    }
  }

  HostClient& host_;
  Domains domains_, later_;  // before and after the questions to the others
  Diagnosis diagnosis_;
  bool all_answered_ = true;
};

}  // namespace

Result<Diagnosis> examine(HostClient& host) {
  Look first(host);
  Diagnosis diagnosis = TRY(first.run());
  // Whoever has not answered for seconds is not looked at again.
  for (int look = 1; look < kLooks && first.all_answered() && !diagnosis.disagreements.empty(); ++look) {
    poll(nullptr, 0, kBetweenLooksMs);
    Diagnosis again = TRY(Look(host).run());
    std::erase_if(again.disagreements, [&](const Disagreement& found) {
      return std::find(diagnosis.disagreements.begin(), diagnosis.disagreements.end(), found) ==
             diagnosis.disagreements.end();
    });
    diagnosis = std::move(again);
  }
  return diagnosis;
}

std::string to_text(const Diagnosis& diagnosis) {
  const json& counts = diagnosis.counts;
  std::string text;
  for (const Disagreement& found : diagnosis.disagreements) {
    std::string subject;
    if (found.domid != 0) subject = fmt::format("domain {}", found.domid);
    if (!found.name.empty()) subject += fmt::format(" ({})", found.name);
    text += fmt::format("{:<15} {}{}{}\n", found.area, subject, subject.empty() ? "" : ": ", found.text);
  }
  const std::string seen =
      fmt::format("{} domains, {} cells, {} event channels, {} grants in use, {} MiB of machine memory",
                  counts.at("domains").get<uint64_t>(), counts.at("cells").get<uint64_t>(),
                  counts.at("ports").get<uint64_t>(), counts.at("mappings").get<uint64_t>(),
                  2 * (counts.at("chunks").get<uint64_t>() - counts.at("free_chunks").get<uint64_t>()));
  return text + (diagnosis.disagreements.empty()
                     ? fmt::format("Everything agrees: {}.\n", seen)
                     : fmt::format("{} disagreements; looked at {}.\n", diagnosis.disagreements.size(), seen));
}

json to_json(const Diagnosis& diagnosis) {
  json disagreements = json::array();
  for (const Disagreement& found : diagnosis.disagreements) {
    json entry{{"area", found.area}, {"text", found.text}};
    if (found.domid != 0) entry["domid"] = found.domid;
    if (!found.name.empty()) entry["name"] = found.name;
    disagreements.push_back(std::move(entry));
  }
  return {
      {"disagreements", std::move(disagreements)}, {"counts", diagnosis.counts}, {"processes", diagnosis.processes}};
}

}  // namespace xenopolis::cli
