// A host: the machine, its Dom0 backends, its cells, and the control socket. What polisd runs.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "event/consumer.h"
#include "toolstack/cell_pool.h"
#include "toolstack/control_server.h"
#include "toolstack/domain_consoles.h"
#include "toolstack/lifecycle.h"
#include "toolstack/process.h"
#include "toolstack/xenstore_client.h"

namespace xenopolis::toolstack {

struct HostConfig {
  std::string run_directory;  // sockets: polisd.sock, xenstored.sock; consoles: console/NAME.log
  event::Abi event_abi = event::Abi::kFifo;
  std::string backend = "auto";  // "auto", "kvm", "hosted"
  uint32_t domains_per_cell = machine::kVcpusPerDoorbell;
  uint64_t reserve_mib = 256;
  std::string log_level = "info";      // of the services and cells
  bool console_timestamps = false;     // in front of each line of a console's log
  uint64_t console_log_max_bytes = 0;  // then the log is rotated; 0: never
  uint32_t console_log_keep = 3;       // rotated logs of a console
};

// "auto" resolved: "kvm" where it works. `why` is one line for people.
struct BackendChoice {
  std::string name;
  std::string why;
};
// ENODEV and others when "kvm" was asked for and does not work; says what to do.
Result<BackendChoice> choose_backend(const std::string& wanted);

class Host {
 public:
  // Starts everything; the host is ready for clients when this returns.
  static Result<std::unique_ptr<Host>> start(EventLoop& loop, const HostConfig& config);
  ~Host();

  const BackendChoice& backend() const { return backend_; }
  // What ended the host when it was no request to stop: a backend that died. Empty: an orderly stop.
  const std::string& failure() const { return failure_; }

 private:
  Host(EventLoop& loop, HostConfig config, BackendChoice backend, machine::Machine machine);
  Status start_services();
  // A descriptor that a service gets beside the machine's, and the option that names it.
  struct Inherited {
    std::string_view option;
    const Fd& fd;
  };
  Status start_service(std::unique_ptr<Process>& slot, const std::string& program, std::vector<std::string> arguments,
                       std::initializer_list<Inherited> inherited, std::function<void(const std::string& how)> ended);
  Status start_xenstored();
  Status start_consoled();
  void on_service_end(const std::string& program, const std::string& how, std::deque<uint64_t>& ends_ns,
                      Status (Host::*start_again)());
  void fail_with(const std::string& why);
  void handle(ControlServer::ClientId client, const nlohmann::json& request);
  nlohmann::json list() const;

  EventLoop& loop_;
  HostConfig config_;
  BackendChoice backend_;
  machine::Machine machine_;
  event::EventChannels events_;
  grant::GrantTables grants_;
  std::string failure_;
  Fd xenstore_journal_;                     // outlives the daemon
  Fd console_history_;                      // the same
  std::deque<uint64_t> xenstored_ends_ns_;  // when it has ended lately
  std::deque<uint64_t> consoled_ends_ns_;
  std::unique_ptr<Process> xenstored_;
  std::unique_ptr<Process> consoled_;
  std::unique_ptr<XenstoreClient> xenstore_;
  std::unique_ptr<ConsoleLink> console_link_;
  std::unique_ptr<DomainConsoles> consoles_;
  std::unique_ptr<CellPool> cells_;
  std::unique_ptr<Lifecycle> lifecycle_;
  std::unique_ptr<ControlServer> control_;
};

}  // namespace xenopolis::toolstack
