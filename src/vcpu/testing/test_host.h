// Domains in a machine without polisd and daemons: for tests of everything that runs guests.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "event/consumer.h"
#include "vcpu/boot.h"
#include "vcpu/runner.h"
#include "vcpu/testing/fake_store.h"

namespace xenopolis::vcpu::testing {

struct TestHostConfig {
  event::Abi offered_abi = event::Abi::kFifo;
  uint64_t slice_ns = 1'000'000;
};

// The machine, Dom0's side of consoles and xenstore, and one runner, all in the calling thread: run_until() lets the
// runner and Dom0 take turns. One at a time in a process, as the machine.
class TestHost {
 public:
  explicit TestHost(Backend& backend, const TestHostConfig& config = {});
  ~TestHost();

  // Builds and runs a domain as polisd would: domids count from 1.
  Result<DomId> start(const std::string& image, const std::string& command_line = "", uint64_t memory_mib = 4,
                      const std::string& ramdisk = "");
  void destroy(DomId domid);

  // False: it took longer than `patience_ns`.
  bool run_until(const std::function<bool()>& done, uint64_t patience_ns = 20'000'000'000);
  bool run_until_ended(DomId domid, uint64_t patience_ns = 20'000'000'000);

  // What the domain has written to its console, and how it has ended.
  const std::string& console(DomId domid) const { return domains_.at(domid)->console; }
  bool ended(DomId domid) const { return domains_.at(domid)->ended.has_value(); }
  const Runner::Ended& end_of(DomId domid) const { return *domains_.at(domid)->ended; }
  FakeStore& store(DomId domid) { return *domains_.at(domid)->store; }
  // After store(domid).write(): watch events go out.
  void serve(DomId domid);
  const domain::DomainRecord& record(DomId domid) const { return domain::record_of(domid); }

  machine::Machine& machine() { return machine_; }
  event::EventChannels& events() { return events_; }
  grant::GrantTables& grants() { return grants_; }
  event::Consumer& dom0() { return dom0_; }
  Runner& runner() { return *runner_; }
  // Events on ports that dom0() has bound beside consoles and xenstore.
  std::function<void(Port)> on_dom0_event;

 private:
  struct Domain {
    uint32_t slot = 0;
    Port console_port = 0;  // Dom0's
    Port store_port = 0;
    xencons_interface* console_ring = nullptr;
    std::unique_ptr<FakeStore> store;
    std::string console;
    std::optional<Runner::Ended> ended;
  };

  Status prepare(DomId domid, const std::string& command_line, uint64_t memory_mib);
  void on_event(Port port);
  void drain_console(Domain& domain);

  Backend& backend_;
  const TestHostConfig config_;
  MonotonicClock clock_;
  machine::Machine machine_;
  event::EventChannels events_;
  grant::GrantTables grants_;
  event::Consumer dom0_;
  const Hypervisor hypervisor_;
  std::unique_ptr<Runner> runner_;
  ImageCache images_;
  std::map<DomId, std::unique_ptr<Domain>> domains_;
  std::map<Port, DomId> ports_;  // Dom0's port: whose console or store
  DomId last_domid_ = 0;
};

// False: this build cannot run that backend's tests, whatever the machine offers (REQUIRE_KVM does not change that).
bool is_testable(const std::string& name);

// The backend by its name, made once in the process, which can have one only. Error: why it is not there.
Result<Backend*> backend_called(const std::string& name);

}  // namespace xenopolis::vcpu::testing
