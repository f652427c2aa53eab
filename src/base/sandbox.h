// What a process gives up for good, so that whoever takes it over gains little: docs/security.md says who uses what.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "base/result.h"

namespace xenopolis::sandbox {

// execve() of a set-user-ID program gains nothing any more, capabilities are gone but for those named (CAP_* of
// <linux/capability.h>), and there are no core files.
Status drop_privileges(std::initializer_list<int> kept_capabilities = {});

// False in builds whose sanitizers open files and make system calls of their own: what would hinder them is left out.
bool filters_are_enforced();

// No file can be opened, made, removed or executed by its path; descriptors go on working (Landlock). False: the kernel
// does not offer it, or filters are not enforced.
Result<bool> forget_paths();

// A condition on an argument of a system call: (argument & mask) == value.
struct Argument {
  unsigned index;
  uint64_t value;
  uint64_t mask = ~0ull;
};

// Which system calls the kernel carries out (seccomp). For this thread, those that it starts and all programs that it
// executes.
class SystemCallFilter {
 public:
  enum class Others { kEndTheProcess, kAreAllowed };  // kEndTheProcess: SIGSYS, which cannot be caught
  static Result<SystemCallFilter> create(Others others);
  SystemCallFilter(SystemCallFilter&&) noexcept;
  ~SystemCallFilter();

  // `call`: SYS_* of <sys/syscall.h>. Of several rules for one call any may hold.
  Status allow(int call, std::initializer_list<Argument> if_all = {});
  Status refuse(int call, int error, std::initializer_list<Argument> if_all = {});
  // It is made most often: its rules are looked at first.
  Status prefer(int call);
  // From here on. Needs drop_privileges().
  Status enforce();

 private:
  struct State;
  explicit SystemCallFilter(std::unique_ptr<State> state);
  Status add(uint32_t action, int call, std::initializer_list<Argument> if_all);
  std::unique_ptr<State> state_;
};

// For daemons that open files and sockets all the time: EPERM for what none of them ever does, because it is for
// debuggers, administrators and those who attack the kernel. `may_execute`: execve() goes on.
Status refuse_what_daemons_never_do(bool may_execute);

}  // namespace xenopolis::sandbox
