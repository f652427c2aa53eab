// A host: the machine, its Dom0 backends, its cells, and the control socket. What polisd runs.
//
// All of it but this process is polis-keeper's: when polisd is killed the next one takes over what there is (adopt),
// and takes away what was begun and is nobody's any more.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "event/consumer.h"
#include "toolstack/cell_pool.h"
#include "toolstack/control_server.h"
#include "toolstack/domain_consoles.h"
#include "toolstack/keeper.h"
#include "toolstack/lifecycle.h"
#include "toolstack/process.h"
#include "toolstack/silence.h"
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
  uint32_t patience_s = 30;            // a daemon that does not answer for so long is killed, and started again
};

// "auto" resolved: "kvm" where it works. `why` is one line for people.
struct BackendChoice {
  std::string name;
  std::string why;
};
// ENODEV and others when "kvm" was asked for and does not work; says what to do.
Result<BackendChoice> choose_backend(const std::string& wanted);

class Operations;

class Host {
 public:
  // Starts everything, or takes over what the keeper holds; the host is ready for clients when this returns.
  static Result<std::unique_ptr<Host>> start(EventLoop& loop, const HostConfig& config, std::unique_ptr<Keeper> keeper);
  ~Host();

  const HostConfig& config() const { return config_; }
  BackendChoice backend() const;
  machine::Machine& machine() { return machine_; }
  event::EventChannels& events() { return events_; }
  grant::GrantTables& grants() { return grants_; }
  Lifecycle& lifecycle() { return *lifecycle_; }
  CellPool& cells() { return *cells_; }
  const DomainConsoles& consoles() const { return *consoles_; }
  XenstoreClient& xenstore() { return *xenstore_; }
  ControlServer& control() { return *control_; }
  struct Pids {
    pid_t keeper, polisd, xenstored, consoled;
  };
  Pids pids() const;
  void stop() { loop_.stop(); }

  // What ended the host when it was no request to stop: a backend that died. Empty: an orderly stop.
  const std::string& failure() const { return failure_; }

 private:
  using KeptByKey = std::map<std::string, Keeper::Kept>;

  // A daemon of Dom0: started again when it ends, as long as that is not all that it does.
  struct Service {
    std::string program;
    Status (Host::*start)(KeptByKey& kept);
    std::unique_ptr<Process> process;
    std::deque<uint64_t> ends_ns;  // when it has ended lately
    Silence silence = {};
  };
  // A descriptor that a service gets beside the machine's, and the option that names it.
  struct Inherited {
    std::string_view option;
    const Fd& fd;
  };

  Host(EventLoop& loop, HostConfig config, std::unique_ptr<Keeper> keeper, machine::Machine machine);
  static Result<machine::Machine> take_machine(const HostConfig& config, Keeper& keeper, KeptByKey& kept);
  Status start_services(KeptByKey kept);
  Status adopt(KeptByKey& kept);
  Result<Fd> lasting_memory(KeptByKey& kept, const std::string& key);
  Status spawn(Service& service, std::vector<std::string> arguments, std::initializer_list<Inherited> inherited,
               const std::vector<int>& kept);
  Status watch(Service& service);
  Status start_xenstored(KeptByKey& kept);
  Status start_consoled(KeptByKey& kept);
  void on_service_end(Service& service);
  void start_again(Service& service);
  Status wait_for_xenstored();
  void look_for_silence();
  uint32_t warning_after() const { return (config_.patience_s + 2) / 3; }
  void look_at(Service& service, bool is_asked, uint64_t answers);
  void fail_with(const std::string& why);

  EventLoop& loop_;
  HostConfig config_;
  std::unique_ptr<Keeper> keeper_;
  machine::Machine machine_;
  event::EventChannels events_;
  grant::GrantTables grants_;
  std::string failure_;
  Fd xenstore_journal_;  // outlives the daemon
  Fd console_history_;   // the same
  Service xenstored_{"polis-xenstored", &Host::start_xenstored, {}, {}};
  Service consoled_{"polis-consoled", &Host::start_consoled, {}, {}};
  std::unique_ptr<XenstoreClient> xenstore_;
  std::unique_ptr<ConsoleLink> console_link_;
  std::unique_ptr<DomainConsoles> consoles_;
  std::unique_ptr<CellPool> cells_;
  std::map<uint32_t, Silence> silent_cells_;
  uint32_t looks_ = 0;
  std::unique_ptr<Lifecycle> lifecycle_;
  std::unique_ptr<Operations> operations_;
  std::unique_ptr<ControlServer> control_;
};

}  // namespace xenopolis::toolstack
