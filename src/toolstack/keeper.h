// polis-keeper, as polisd sees it: who holds what shall outlive polisd.
//
// A host's processes are children of polis-keeper, not of polisd, and so are polisd's successors when it is killed. It
// spawns and reaps for polisd, and holds descriptors under names: the machine, the daemons' memory, the lines to cells.
// A new polisd asks for all of it, and goes on.
//
// One SOCK_SEQPACKET socket, one request under way, each a message of fields that end with NUL, descriptors beside it:
//   spawn KEY KEPT PROGRAM ARGUMENT...   + KEPT descriptors to hold, then those for the child -> ok PID   + its pidfd
//   keep KEY                             + descriptors in place of those that KEY has         -> ok
//   forget KEY                                                                                -> ok
//   drop KEY                             the same, and kills the process                       -> ok
//   reap PID                             a child that has ended, or was killed                -> ok HOW
//   all                                  -> for each key: entry KEY PID   + its pidfd unless PID is 0, what it has;
//   then ok
// and "error ERRNO TEXT" for each that cannot be.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "toolstack/process.h"

namespace xenopolis::toolstack {

class Keeper {
 public:
  // `socket`: what polis-keeper has given this process.
  explicit Keeper(Fd socket) : socket_(std::move(socket)) {}

  // As Process::spawn(). `kept` is held under `key`, which is nobody else's while the child lives.
  Result<Process> spawn(const std::string& key, const std::string& program, const std::vector<std::string>& arguments,
                        const std::vector<int>& fds, const std::vector<int>& kept = {});
  // At most 200 descriptors.
  Status keep(const std::string& key, const std::vector<int>& fds);
  Status forget(const std::string& key);

  struct Kept {
    std::vector<Fd> fds;
    std::unique_ptr<Process> process;  // none: descriptors only. It may have ended.
  };
  // By key.
  Result<std::map<std::string, Kept>> all();

  // For Process: what became of a child; waits until it has ended.
  std::string reap(pid_t pid);

  int fd() const { return socket_.get(); }

 private:
  struct Answer;
  Result<Answer> ask(const std::vector<std::string>& request, const std::vector<int>& fds);
  Result<Answer> receive();

  Fd socket_;
};

}  // namespace xenopolis::toolstack
