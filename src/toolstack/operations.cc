#include "toolstack/operations.h"

#include <fmt/format.h>

#include "domain/registry.h"
#include "event/port_table.h"
#include "toolstack/audit.h"
#include "toolstack/domain_spec.h"
#include "toolstack/host.h"
#include "toolstack/host_memory.h"
#include "toolstack/host_state.h"

namespace xenopolis::toolstack {
namespace {

using nlohmann::json;

// An answer with the channels of a domain looks at so many ports, and says where to go on.
constexpr Port kPortsPerAnswer = 4096;

constexpr uint64_t kKibPerPage = kPageSize / 1024;

json describe(DomId domid) {
  const domain::DomainRecord& record = domain::record_of(domid);
  const domain::State state = domain::state_of(domid);
  json described{{"domid", domid},
                 {"name", record.name},
                 {"state", domain::name_of(state)},
                 {"stage", domain::name_of(record.stage.load())},
                 {"paused", record.is_paused.load()},
                 {"memory_kib", record.ram_pages * kKibPerPage},
                 {"vcpus", 1},
                 {"runstate", domain::name_of_runstate(record.runstate.load(std::memory_order_relaxed))},
                 {"cpu_time_ns", record.run_time_ns.load(std::memory_order_relaxed)},
                 {"started_s", record.started_s},
                 {"uuid", to_text(uuid_of(record))}};
  described["cell"] = record.cell == domain::kNoCell ? json() : json(record.cell);
  if (state == domain::State::kShutdown) {
    described["shutdown_reason"] = domain::name_of_shutdown(record.shutdown_reason);
  }
  return described;
}

std::string_view name_of_channel(uint32_t status) {
  switch (status) {
    case EVTCHNSTAT_unbound:
      return "unbound";
    case EVTCHNSTAT_interdomain:
      return "interdomain";
    case EVTCHNSTAT_pirq:
      return "pirq";
    case EVTCHNSTAT_virq:
      return "virq";
    case EVTCHNSTAT_ipi:
      return "ipi";
  }
  return "closed";
}

json describe(Port port, const event::PortStatus& status) {
  json described{{"port", port},
                 {"state", name_of_channel(status.status)},
                 {"vcpu", status.vcpu},
                 {"priority", status.priority},
                 {"pending", status.pending},
                 {"masked", status.masked}};
  const bool is_bound = status.status == EVTCHNSTAT_interdomain;
  if (is_bound || status.status == EVTCHNSTAT_unbound) described["remote_domid"] = status.remote_domid;
  if (is_bound) described["remote_port"] = status.remote_port;
  if (status.status == EVTCHNSTAT_virq) described["virq"] = status.virq;
  return described;
}

}  // namespace

Operations::Operations(Host& host)
    : host_(host), operations_{{"create", &Operations::create},       {"destroy", &Operations::destroy},
                               {"shutdown", &Operations::shutdown},   {"pause", &Operations::pause},
                               {"unpause", &Operations::unpause},     {"trigger", &Operations::trigger},
                               {"rename", &Operations::rename},       {"sysrq", &Operations::sysrq},
                               {"list", &Operations::list},           {"domain", &Operations::domain},
                               {"info", &Operations::info},           {"event_channels", &Operations::event_channels},
                               {"attach", &Operations::attach},       {"audit", &Operations::audit},
                               {"subscribe", &Operations::subscribe}, {"stop", &Operations::stop}} {}

void Operations::handle(ControlServer::ClientId client, const json& request) {
  const Call call{client, request};
  const auto found = operations_.find(request["op"]);
  if (found == operations_.end()) {
    return refuse(call, Error{ENOSYS, fmt::format("no operation \"{}\"", std::string(request["op"]))});
  }
  (this->*found->second)(call);
}

void Operations::reply(const Call& call, json answer) {
  host_.control().reply(call.client, call.request, std::move(answer));
}

void Operations::refuse(const Call& call, const Error& error) {
  host_.control().refuse(call.client, call.request, error);
}

std::function<void(Status)> Operations::later(const Call& call) {
  return [this, client = call.client, request = call.request](const Status& status) {
    const Call then{client, request};
    if (status) return reply(then);
    refuse(then, status.error());
  };
}

DomId Operations::domain_of(const Call& call) {
  if (call.request.contains("name") && !call.request.contains("domid")) {
    const std::string name = call.request["name"];
    const DomId domid = host_.lifecycle().named(name);
    if (domid == 0) refuse(call, Error{ENOENT, fmt::format("there is no domain called {}", name)});
    return domid;
  }
  const json& number = call.request.at("domid");
  if (!number.is_number_unsigned()) {
    refuse(call, Error{EINVAL, "domid: must be a number"});
    return 0;
  }
  const uint64_t domid = number;
  if (domid < kDomIdCount && host_.lifecycle().has(static_cast<DomId>(domid))) return static_cast<DomId>(domid);
  refuse(call, domid == 0 ? Error{EPERM, "domain 0 is the host itself"}
                          : Error{ENOENT, fmt::format("there is no domain {}", domid)});
  return 0;
}

void Operations::create(const Call& call) {
  json members = call.request;
  members.erase("op");
  members.erase("id");
  const Result<DomainSpec> spec = spec_from_json(members);
  if (!spec) return refuse(call, spec.error());
  host_.lifecycle().create(*spec, [this, client = call.client, request = call.request](const Result<DomId>& domid) {
    const Call then{client, request};
    if (domid) return reply(then, {{"domid", *domid}});
    refuse(then, domid.error());
  });
}

void Operations::destroy(const Call& call) {
  if (const DomId domid = domain_of(call)) host_.lifecycle().destroy(domid, later(call));
}

void Operations::shutdown(const Call& call) {
  const std::string reason = call.request.value("reason", "poweroff");
  if (reason != "poweroff" && reason != "reboot") {
    return refuse(call, Error{EINVAL, fmt::format("reason \"{}\" (poweroff or reboot)", reason)});
  }
  if (const DomId domid = domain_of(call)) host_.lifecycle().ask_guest(domid, "shutdown", reason, later(call));
}

void Operations::sysrq(const Call& call) {
  const std::string key = call.request.at("key");
  if (key.size() != 1) return refuse(call, Error{EINVAL, "key: one letter"});
  if (const DomId domid = domain_of(call)) host_.lifecycle().ask_guest(domid, "sysrq", key, later(call));
}

void Operations::pause(const Call& call) {
  if (const DomId domid = domain_of(call)) host_.lifecycle().pause(domid, true, later(call));
}

void Operations::unpause(const Call& call) {
  if (const DomId domid = domain_of(call)) host_.lifecycle().pause(domid, false, later(call));
}

void Operations::trigger(const Call& call) {
  const std::string trigger = call.request.at("trigger");
  if (trigger != "nmi") {
    return refuse(call, Error{ENOSYS, fmt::format("a PV domain has no trigger \"{}\" (nmi)", trigger)});
  }
  if (const DomId domid = domain_of(call)) host_.lifecycle().trigger_nmi(domid, later(call));
}

void Operations::rename(const Call& call) {
  // "name" is the new one here.
  if (!call.request.contains("domid")) return refuse(call, Error{EINVAL, "which domain: domid"});
  if (const DomId domid = domain_of(call)) host_.lifecycle().rename(domid, call.request.at("name"), later(call));
}

void Operations::list(const Call& call) {
  json domains = json::array();
  host_.lifecycle().for_each([&](DomId domid) { domains.push_back(describe(domid)); });
  reply(call, {{"domains", std::move(domains)}});
}

void Operations::domain(const Call& call) {
  const DomId domid = domain_of(call);
  if (domid == 0) return;
  const domain::DomainRecord& record = domain::record_of(domid);
  json described = describe(domid);
  described["configuration"] = to_json(host_.lifecycle().spec_of(domid));
  described["exits"] = record.exits.load(std::memory_order_relaxed);
  described["hypercalls"] = record.hypercalls.load(std::memory_order_relaxed);
  described["upcalls"] = record.upcalls.load(std::memory_order_relaxed);
  reply(call, std::move(described));
}

void Operations::event_channels(const Call& call) {
  const DomId domid = domain_of(call);
  if (domid == 0) return;
  event::EventChannels& events = host_.events();
  const Port end = event::channels_of(domid).used_ports.load(std::memory_order_relaxed);
  const Port begin = std::max<Port>(1, call.request.value("from", Port{1}));
  json ports = json::array();
  Port port = begin;
  for (; port < end && port - begin < kPortsPerAnswer; ++port) {
    const auto status = events.status(kDom0, domid, port);
    if (status && status->status != EVTCHNSTAT_closed) ports.push_back(describe(port, *status));
  }
  const event::DomainCounters counters = events.counters(domid);
  json answer{{"domid", domid},
              {"abi", event::name_of(events.abi(domid))},
              {"max_port", domain::record_of(domid).configuration.max_event_channels},
              {"open_ports", counters.open_ports},
              {"events_sent", counters.events_sent},
              {"events_delivered", counters.events_delivered},
              {"ports", std::move(ports)}};
  if (port < end) answer["next"] = port;  // "from" of the next request
  reply(call, std::move(answer));
}

void Operations::info(const Call& call) {
  const Host::Pids pids = host_.pids();
  const BackendChoice backend = host_.backend();
  const Result<HostMemory> memory = host_memory();
  json answer{{"version", XENOPOLIS_VERSION},
              {"run_dir", host_.config().run_directory},
              {"started_s", host_state().started_s},
              {"polisd_starts", host_state().polisd_starts},
              {"backend", backend.name},
              {"backend_why", backend.why},
              {"event_abi", event::name_of(host_.config().event_abi)},
              {"domains", host_.lifecycle().count()},
              {"processes",
               {{"polis-keeper", pids.keeper},
                {"polisd", pids.polisd},
                {"polis-xenstored", pids.xenstored},
                {"polis-consoled", pids.consoled},
                {"cells", host_.cells().pids()}}},
              {"machine_bytes", host_.machine().resident_bytes()}};
  if (memory) {
    answer["memory_total_kib"] = memory->total_kib;
    answer["memory_available_kib"] = memory->available_kib;
  }
  reply(call, std::move(answer));
}

void Operations::subscribe(const Call& call) {
  host_.control().subscribe(call.client);
  reply(call);
}

// Whoever has the machine is as trusted as Dom0: the socket's permissions are the gate.
void Operations::attach(const Call& call) {
  const Status sent = host_.control().reply_with_fds(call.client, call.request, json::object(), host_.machine().fds());
  if (!sent) refuse(call, sent.error());
}

// What is wrong here, and what xenstore and the daemons should say: they are asked by whoever asks this.
void Operations::audit(const Call& call) {
  HostBooks books;
  json cells = json::array(), domains = json::array(), findings = json::array();
  host_.lifecycle().for_each([&](DomId domid) { books.domains.insert(domid); });
  host_.consoles().for_each([&](DomId domid) { books.consoles.insert(domid); });
  host_.cells().for_each([&](uint32_t cell, pid_t pid, const CellPool::Domains& places) {
    books.cells.emplace(cell, places);
    cells.push_back({{"cell", cell}, {"pid", pid}});
  });
  const AuditResult result = toolstack::audit(host_.machine(), host_.events(), host_.grants(), books);
  for (const Finding& finding : result.findings) {
    findings.push_back({{"area", finding.area}, {"domid", finding.domid}, {"text", finding.text}});
  }
  for (const DomId domid : books.domains) {
    const domain::DomainRecord& record = domain::record_of(domid);
    domains.push_back({{"domid", domid},
                       {"name", record.name},
                       {"uuid", to_text(uuid_of(record))},
                       {"settled", is_settled(domid)},
                       {"incarnation", record.incarnation},
                       {"memory_kib", record.ram_pages * kKibPerPage},
                       {"store_port", record.store_port},
                       {"store_gfn", record.store_gfn},
                       {"console_port", record.console_port},
                       {"console_gfn", record.console_gfn}});
  }
  const Host::Pids pids = host_.pids();
  reply(call, {{"findings", std::move(findings)},
               {"counts",
                {{"domains", result.domains},
                 {"ports", result.ports},
                 {"mappings", result.mappings},
                 {"chunks", result.chunks},
                 {"free_chunks", result.free_chunks},
                 {"pages", result.pages},
                 {"free_pages", result.free_pages}}},
               {"domains", std::move(domains)},
               {"cells", std::move(cells)},
               {"processes",
                {{"polis-keeper", pids.keeper},
                 {"polisd", pids.polisd},
                 {"polis-xenstored", pids.xenstored},
                 {"polis-consoled", pids.consoled}}}});
}

void Operations::stop(const Call& call) {
  reply(call);
  host_.stop();
}

}  // namespace xenopolis::toolstack
