#include "vcpu/cell_sandbox.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "base/sandbox.h"
#include "machine/doorbell.h"

namespace xenopolis::vcpu {
namespace {

using sandbox::SystemCallFilter;

constexpr uint64_t kInt = 0xffff'ffff;  // the kernel looks at 32 bits of an int

// Two for each of 64 vCPUs, those of the machine, and what a message brings.
constexpr rlim_t kMaxDescriptors = 256;

Status allow_memory(SystemCallFilter& filter, bool executable) {
  for (const int call : {SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk}) TRY_VOID(filter.allow(call));
  for (const int call : {SYS_mmap, SYS_mprotect}) {
    if (executable) {
      TRY_VOID(filter.allow(call));
    } else {
      TRY_VOID(filter.allow(call, {{2, 0, PROT_EXEC}}));
    }
  }
  return {};
}

Status allow_time_and_signals(SystemCallFilter& filter) {
  for (const int call :
       {SYS_clock_gettime, SYS_gettimeofday, SYS_time, SYS_timer_create, SYS_timer_settime, SYS_timer_delete,
        SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_futex, SYS_sched_yield,
        SYS_restart_syscall, SYS_getpid, SYS_gettid, SYS_exit, SYS_exit_group}) {
    TRY_VOID(filter.allow(call));
  }
  // Kicks go to other cells, whose default action for the signal is to ignore it; an abort to itself.
  const auto kick = static_cast<uint64_t>(machine::Doorbells::kick_signal());
  TRY_VOID(filter.allow(SYS_tgkill, {{2, kick, kInt}}));
  return filter.allow(SYS_tgkill, {{0, static_cast<uint64_t>(getpid()), kInt}, {2, SIGABRT, kInt}});
}

Status allow_descriptors(SystemCallFilter& filter, int control_fd, std::span<const int> doorbell_fds) {
  const auto control = static_cast<uint64_t>(control_fd);
  TRY_VOID(filter.allow(SYS_recvmsg, {{0, control, kInt}}));
  TRY_VOID(filter.allow(SYS_sendto, {{0, control, kInt}, {4, 0}}));  // without an address
  TRY_VOID(filter.allow(SYS_write, {{0, STDERR_FILENO, kInt}}));
  TRY_VOID(filter.allow(SYS_writev, {{0, STDERR_FILENO, kInt}}));
  for (const int fd : doorbell_fds) TRY_VOID(filter.allow(SYS_write, {{0, static_cast<uint64_t>(fd), kInt}}));
  for (const int call : {SYS_pread64, SYS_fstat, SYS_lseek, SYS_close}) TRY_VOID(filter.allow(call));
  return {};
}

// Time zones, the number of CPUs, a stream's buffer: what a C library looks up on its own.
Status refuse_paths(SystemCallFilter& filter) {
  for (const int call :
       {SYS_open, SYS_openat, SYS_stat, SYS_lstat, SYS_newfstatat, SYS_statx, SYS_access, SYS_faccessat, SYS_faccessat2,
        SYS_readlink, SYS_readlinkat, SYS_sysinfo, SYS_uname, SYS_sched_getaffinity, SYS_getrandom, SYS_read}) {
    TRY_VOID(filter.refuse(call, EPERM));
  }
  return {};
}

}  // namespace

Status enter_sandbox(const Backend& backend, int control_fd, std::span<const int> doorbell_fds) {
  tzset();  // reads a file
  TRY_VOID(sandbox::drop_privileges());
  if (const auto forgotten = sandbox::forget_paths(); !forgotten) {
    return tl::make_unexpected(forgotten.error());
  } else if (!*forgotten) {
    log::debug("this kernel has no Landlock: the filter of system calls alone keeps the cell from paths");
  }
  // A lower limit that is there stays: it cannot be raised.
  rlimit descriptors{};
  if (getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return fail_errno("RLIMIT_NOFILE");
  descriptors.rlim_max = std::min<rlim_t>(descriptors.rlim_max, kMaxDescriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &descriptors) != 0) return fail_errno("RLIMIT_NOFILE");

  SystemCallFilter filter = TRY(SystemCallFilter::create(SystemCallFilter::Others::kEndTheProcess));
  for (const unsigned long request : backend.ioctls()) TRY_VOID(filter.allow(SYS_ioctl, {{1, request, kInt}}));
  TRY_VOID(filter.prefer(SYS_ioctl));  // KVM_RUN
  TRY_VOID(allow_memory(filter, backend.flat()));
  TRY_VOID(allow_time_and_signals(filter));
  TRY_VOID(allow_descriptors(filter, control_fd, doorbell_fds));
  TRY_VOID(refuse_paths(filter));
  return filter.enforce();
}

}  // namespace xenopolis::vcpu
