#include "toolstack/domain_consoles.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <utility>

#include "base/log.h"

namespace xenopolis::toolstack {

using console::ConsoleId;

namespace {

// Of Xen's libxl_internal.h: LIBXL_XENCONSOLE_LIMIT and _PROTOCOL. The limit is that of xenconsoled's buffer; what is
// kept here is limited by the history (src/console/history.h).
constexpr std::string_view kLimit = "1048576";
constexpr std::string_view kProtocol = "vt100";
constexpr std::string_view kClientWatch = "@clientWatch";

std::string frontend_of(DomId domid, uint32_t index) {
  return index == 0 ? fmt::format("/local/domain/{}/console", domid)
                    : fmt::format("/local/domain/{}/device/console/{}", domid, index);
}

std::string backends_of(DomId domid) {
  return fmt::format("/local/domain/0/backend/console/{}", domid);
}

std::string backend_of(DomId domid, uint32_t index) {
  return fmt::format("{}/{}", backends_of(domid), index);
}

// All of `text`, in decimal.
template <class Number>
std::optional<Number> number_in(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// "/local/domain/7/console/tty" or "/local/domain/7/device/console/2/tty" with `leaf` "tty".
std::optional<ConsoleId> console_named(std::string_view path, std::string_view leaf) {
  if (!take_prefix(path, "/local/domain/")) return std::nullopt;
  const auto domid = number_in<DomId>(path.substr(0, path.find('/')));
  if (!domid) return std::nullopt;
  path.remove_prefix(std::min(path.find('/'), path.size()));
  uint16_t index = 0;
  if (take_prefix(path, "/device")) {
    if (!take_prefix(path, "/console/")) return std::nullopt;
    const auto given = number_in<uint16_t>(path.substr(0, path.find('/')));
    if (!given || *given == 0) return std::nullopt;
    index = *given;
    path.remove_prefix(std::min(path.find('/'), path.size()));
    if (!take_prefix(path, "/")) return std::nullopt;
  } else if (!take_prefix(path, "/console/")) {
    return std::nullopt;
  }
  if (path != leaf) return std::nullopt;
  return ConsoleId{*domid, index};
}

std::vector<std::string> dom0_owns(DomId reader) {
  return {"n0", fmt::format("r{}", reader)};
}

}  // namespace

DomainConsoles::DomainConsoles(XenstoreClient& xenstore, ConsoleLink& link) : xenstore_(xenstore), link_(link) {
  xenstore_.on_watch_event([this](std::string_view path, std::string_view) { on_watch_event(path); });
  link_.on_terminal([this](ConsoleId id, const std::string& path) { on_terminal(id, path); });
  xenstore_.watch(kClientWatch, "terminal");
}

DomainConsoles::Domain& DomainConsoles::enter(const ConsoleDescription& description) {
  Domain& domain = domains_[description.domid];
  domain.name = description.name;
  domain.incarnation = description.incarnation;
  domain.devices.resize(description.further);
  return domain;
}

void DomainConsoles::attach_first(const ConsoleDescription& description, Done attached) {
  console::ConsoleRequest request{};
  request.console = {description.domid, 0};
  request.remote_port = description.port;
  request.gfn = description.gfn;
  request.incarnation = description.incarnation;
  description.name.copy(request.name, sizeof request.name - 1);
  link_.attach(request, std::move(attached));
}

void DomainConsoles::add(const ConsoleDescription& description, Done attached) {
  Domain& domain = enter(description);
  write_console(description);
  for (uint32_t index = 1; index <= description.further; ++index) {
    write_device(description.domid, index, domain.devices[index - 1]);
  }
  attach_first(description, std::move(attached));
}

void DomainConsoles::adopt(const ConsoleDescription& description) {
  enter(description);
  attach_first(description, [description](const Status& status) {
    if (!status) log::error("the console of {}: {}", description.name, status.error().message());
  });
  for (uint32_t index = 1; index <= description.further; ++index) {
    // An event comes at once, and says how the frontend is.
    xenstore_.watch(frontend_of(description.domid, index) + "/state", "frontend");
  }
}

void DomainConsoles::rename(DomId domid, const std::string& name) {
  const auto found = domains_.find(domid);
  if (found == domains_.end()) return;
  found->second.name = name;
  for (uint16_t index = 0; index <= found->second.devices.size(); ++index) link_.rename({domid, index}, name);
}

void DomainConsoles::assume(const ConsoleDescription& description) {
  enter(description);
  for (uint32_t index = 0; index <= description.further; ++index) {
    link_.assume({description.domid, static_cast<uint16_t>(index)});
  }
}

// The guest may read the directory: it inherits that from the domain's.
void DomainConsoles::write_console(const ConsoleDescription& description) {
  const std::string console = frontend_of(description.domid, 0);
  xenstore_.write(console + "/port", fmt::to_string(description.port));
  xenstore_.write(console + "/ring-ref", fmt::to_string(description.gfn));
  xenstore_.write(console + "/limit", kLimit);
  xenstore_.write(console + "/type", "xenconsoled");
  xenstore_.write(console + "/output", "pty");
  xenstore_.write(console + "/tty", "");
}

void DomainConsoles::write_device(DomId domid, uint32_t index, Device& device) {
  const std::string frontend = frontend_of(domid, index);
  const std::string backend = backend_of(domid, index);
  const std::string initialising = fmt::to_string(static_cast<int>(XenbusStateInitialising));
  // What is in a directory has its rights, but for what the guest may only read.
  xenstore_.mkdir(frontend);
  xenstore_.set_permissions(frontend, {fmt::format("n{}", domid), "r0"});
  xenstore_.write(frontend + "/backend", backend);
  xenstore_.write(frontend + "/backend-id", "0");
  xenstore_.write(frontend + "/protocol", kProtocol);
  for (const auto& [name, value] : {std::pair<std::string_view, std::string_view>{"limit", kLimit},
                                    {"type", "xenconsoled"},
                                    {"output", "pty"},
                                    {"tty", ""}}) {
    const std::string path = fmt::format("{}/{}", frontend, name);
    xenstore_.write(path, value);
    xenstore_.set_permissions(path, dom0_owns(domid));
  }
  xenstore_.mkdir(backend);
  xenstore_.set_permissions(backend, dom0_owns(domid));
  xenstore_.write(backend + "/frontend", frontend);
  xenstore_.write(backend + "/frontend-id", fmt::to_string(domid));
  xenstore_.write(backend + "/online", "1");
  xenstore_.write(backend + "/protocol", kProtocol);
  device.backend_state = XenbusStateInitWait;
  xenstore_.write(backend + "/state", fmt::to_string(device.backend_state));
  xenstore_.write(frontend + "/state", initialising);
  xenstore_.watch(frontend + "/state", "frontend");
}

void DomainConsoles::remove(DomId domid, Done removed) {
  const auto found = domains_.find(domid);
  if (found == domains_.end()) return removed({});
  const auto devices = static_cast<uint16_t>(found->second.devices.size());
  domains_.erase(found);
  for (uint32_t index = 1; index <= devices; ++index) {
    xenstore_.unwatch(frontend_of(domid, index) + "/state", "frontend");
  }
  if (devices != 0) xenstore_.remove(backends_of(domid));
  const auto left = std::make_shared<uint32_t>(devices + 1u);
  for (uint16_t index = 0; index <= devices; ++index) {
    link_.end({domid, index}, [left, removed](const Status&) {
      if (--*left == 0) removed({});
    });
  }
}

DomainConsoles::Device* DomainConsoles::find(DomId domid, uint32_t index, uint64_t incarnation) {
  const auto found = domains_.find(domid);
  if (found == domains_.end() || found->second.incarnation != incarnation) return nullptr;
  return index == 0 || index > found->second.devices.size() ? nullptr : &found->second.devices[index - 1];
}

void DomainConsoles::on_watch_event(std::string_view path) {
  if (const auto asked = console_named(path, "tty")) {
    const auto domain = domains_.find(asked->domid);
    if (domain == domains_.end()) return;
    if (Device* device = find(asked->domid, asked->index, domain->second.incarnation)) {
      device->is_asked_for = !device->is_attached;
    }
    link_.open_terminal(*asked);
  } else if (const auto changed = console_named(path, "state"); changed && domains_.contains(changed->domid)) {
    look(changed->domid, changed->index);
  }
}

// One look at a time: a frontend that changes all the time costs no more than what it waits for.
void DomainConsoles::look(DomId domid, uint32_t index) {
  const uint64_t incarnation = incarnation_of(domid);
  Device* device = find(domid, index, incarnation);
  if (device == nullptr) return;
  if (device->is_busy) {
    device->again = true;
    return;
  }
  device->is_busy = true;
  const std::string frontend = frontend_of(domid, index);
  const auto read = std::make_shared<Frontend>();
  const auto into = [read](std::string& field) {
    return [read, &field](const Result<std::string>& value) { field = value ? *value : std::string(); };
  };
  xenstore_.read(frontend + "/ring-ref", into(read->ring_ref));
  xenstore_.read(frontend + "/port", into(read->port));
  // Last: what the frontend wrote before it is there.
  xenstore_.read(frontend + "/state", [this, domid, index, incarnation, read](const Result<std::string>& state) {
    if (find(domid, index, incarnation) == nullptr) return;
    if (state) read->state = *state;
    follow(domid, index, *read);
  });
}

void DomainConsoles::follow(DomId domid, uint32_t index, const Frontend& frontend) {
  Device& device = *find(domid, index, incarnation_of(domid));
  const int state = number_in<int>(frontend.state).value_or(XenbusStateUnknown);
  const auto closed = [&](int backend_state) {
    if (!device.is_attached) {
      set_backend_state(domid, index, backend_state);
      return looked(domid, index);
    }
    detach_device(domid, index, [this, domid, index, backend_state] {
      set_backend_state(domid, index, backend_state);
      looked(domid, index);
    });
  };
  switch (state) {
    case XenbusStateInitialising:
      return closed(XenbusStateInitWait);
    case XenbusStateClosing:
    case XenbusStateClosed:
      return closed(XenbusStateClosed);
    case XenbusStateInitialised:
    case XenbusStateConnected:
      break;
    default:
      return looked(domid, index);
  }
  const auto grant = number_in<grant_ref_t>(frontend.ring_ref);
  const auto port = number_in<Port>(frontend.port);
  if (!grant || !port || (device.is_attached && device.grant == *grant && device.port == *port)) {
    return looked(domid, index);
  }
  if (!device.is_attached) return attach_device(domid, index, *grant, *port);
  // A guest that has begun anew, without saying that it ended.
  detach_device(domid, index, [this, domid, index, grant, port] { attach_device(domid, index, *grant, *port); });
}

void DomainConsoles::attach_device(DomId domid, uint32_t index, grant_ref_t grant, Port port) {
  const Domain& domain = domains_.at(domid);
  console::ConsoleRequest request{};
  request.console = {domid, static_cast<uint16_t>(index)};
  request.remote_port = port;
  request.is_granted = 1;
  request.grant = grant;
  request.incarnation = domain.incarnation;
  domain.name.copy(request.name, sizeof request.name - 1);
  link_.attach(request, [this, domid, index, grant, port, incarnation = domain.incarnation](const Status& status) {
    Device* device = find(domid, index, incarnation);
    if (device == nullptr) return;
    if (status) {
      device->is_attached = true;
      device->grant = grant;
      device->port = port;
      set_backend_state(domid, index, XenbusStateConnected);
      if (std::exchange(device->is_asked_for, false)) link_.open_terminal({domid, static_cast<uint16_t>(index)});
    } else if (status.error().code == EEXIST) {
      // With another ring, for a polisd before this one.
      link_.assume({domid, static_cast<uint16_t>(index)});
      return detach_device(domid, index,
                           [this, domid, index, grant, port] { attach_device(domid, index, grant, port); });
    } else {
      // A guest could fill the log with it.
      log::debug("domain {} offers a console {} that cannot be used: {}", domid, index, status.error().message());
    }
    looked(domid, index);
  });
}

void DomainConsoles::detach_device(DomId domid, uint32_t index, std::function<void()> then) {
  link_.detach({domid, static_cast<uint16_t>(index)},
               [this, domid, index, incarnation = incarnation_of(domid), then = std::move(then)](const Status&) {
                 Device* device = find(domid, index, incarnation);
                 if (device == nullptr) return;
                 device->is_attached = false;
                 then();
               });
}

void DomainConsoles::looked(DomId domid, uint32_t index) {
  Device& device = *find(domid, index, incarnation_of(domid));
  device.is_busy = false;
  if (std::exchange(device.again, false)) look(domid, index);
}

void DomainConsoles::set_backend_state(DomId domid, uint32_t index, int state) {
  Device& device = *find(domid, index, incarnation_of(domid));
  if (std::exchange(device.backend_state, state) == state) return;
  xenstore_.write(backend_of(domid, index) + "/state", fmt::to_string(state));
}

// Empty rather than absent, as libxl has it: what xenconsole takes for none. The rights are said again, and before the
// name, because the guest may have made a directory of its own there: a name of its choice would be opened (XSA-57).
void DomainConsoles::on_terminal(ConsoleId id, const std::string& path) {
  const auto domain = domains_.find(id.domid);
  if (domain == domains_.end()) return;
  const std::string node = frontend_of(id.domid, id.index) + "/tty";
  if (id.index != 0) {
    xenstore_.write(node, "");
    xenstore_.set_permissions(node, dom0_owns(id.domid));
  }
  xenstore_.write(node, path);
}

}  // namespace xenopolis::toolstack
