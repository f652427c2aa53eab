// For tests: a machine with domains that do not run, and polis-xenstored.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>

#include "base/fd.h"
#include "daemon_machine.h"
#include "xen_abi/xenstore.h"

namespace xenopolis {

// The channel of a domain is its store's.
class XenstoreMachine : public DaemonMachine {
 public:
  static constexpr Gfn kStoreGfn = 0;

  explicit XenstoreMachine(event::Abi abi) : DaemonMachine(abi) {}

  void start_daemon(int journal) {
    start(POLIS_XENSTORED, {"--socket", socket_path_, "--journal-fd", fmt::to_string(journal)}, {journal});
  }
  Fd connect_socket() const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, socket_path_.c_str());
    Fd connection(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
    return connection;
  }
  static xenstore_domain_interface& ring(DomId domid) {
    return *reinterpret_cast<xenstore_domain_interface*>(machine::memory_of(domid).page(kStoreGfn));
  }

 private:
  const std::string socket_path_ = directory() + "/socket";
};

}  // namespace xenopolis
