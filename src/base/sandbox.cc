#include "base/sandbox.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "base/fd.h"

namespace xenopolis::sandbox {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kHasBusySanitizer = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
constexpr bool kHasBusySanitizer = true;
#else
constexpr bool kHasBusySanitizer = false;
#endif
#else
constexpr bool kHasBusySanitizer = false;
#endif

// Beyond the last one that this kernel knows, prctl() says EINVAL.
Status drop_bounding_set(std::initializer_list<int> kept) {
  for (int capability = 0; capability < 64; ++capability) {
    if (std::find(kept.begin(), kept.end(), capability) != kept.end()) continue;
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) return {};
    if (errno == EPERM) return {};  // somebody without privileges: nothing to drop, and no_new_privs keeps it so
    return fail_errno("PR_CAPBSET_DROP");
  }
  return {};
}

}  // namespace

Status drop_privileges(std::initializer_list<int> kept_capabilities) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno("PR_SET_NO_NEW_PRIVS");
  TRY_VOID(drop_bounding_set(kept_capabilities));
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);  // there are none where the kernel knows no such thing
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3]{};
  if (syscall(SYS_capget, &header, sets) != 0) return fail_errno("capget");
  uint32_t kept[_LINUX_CAPABILITY_U32S_3]{};
  for (const int capability : kept_capabilities) kept[capability / 32] |= 1u << (capability % 32);
  for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; ++i) {
    sets[i].permitted &= kept[i];
    sets[i].effective &= kept[i];
    sets[i].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, sets) != 0) return fail_errno("capset");
  const rlimit none{};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return fail_errno("RLIMIT_CORE");
  return {};
}

bool filters_are_enforced() {
  return !kHasBusySanitizer;
}

Result<bool> forget_paths() {
  if (!filters_are_enforced()) return false;
  // Bits of the interface's later versions are refused by kernels that do not know them.
  constexpr uint64_t kAllOfVersion1 = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
  constexpr uint64_t kRefer = 1ull << 13, kTruncate = 1ull << 14;
  const long version = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 0 && (errno == ENOSYS || errno == EOPNOTSUPP)) return false;
  if (version < 0) return fail_errno("landlock_create_ruleset");
  landlock_ruleset_attr attributes{};
  attributes.handled_access_fs = kAllOfVersion1 | (version >= 2 ? kRefer : 0) | (version >= 3 ? kTruncate : 0);
  const Fd ruleset(static_cast<int>(syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0)));
  if (!ruleset) return fail_errno("landlock_create_ruleset");
  if (syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) return fail_errno("landlock_restrict_self");
  return true;
}

struct SystemCallFilter::State {
  scmp_filter_ctx context;
  ~State() { seccomp_release(context); }
};

SystemCallFilter::SystemCallFilter(std::unique_ptr<State> state) : state_(std::move(state)) {}
SystemCallFilter::SystemCallFilter(SystemCallFilter&&) noexcept = default;
SystemCallFilter::~SystemCallFilter() = default;

Result<SystemCallFilter> SystemCallFilter::create(Others others) {
  auto state = std::make_unique<State>();
  state->context = seccomp_init(others == Others::kAreAllowed ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS);
  if (state->context == nullptr) return fail(ENOMEM, "seccomp_init");
  // Without this the kernel turns off speculation on stores for a filtered process, which costs its every instruction;
  // what it guards against are attackers that run code inside of the process, as script engines do.
  if (const int error = seccomp_attr_set(state->context, SCMP_FLTATR_CTL_SSB, 1); error != 0) {
    return fail(-error, "SCMP_FLTATR_CTL_SSB");
  }
  if (const int error = seccomp_attr_set(state->context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS); error != 0) {
    return fail(-error, "SCMP_FLTATR_ACT_BADARCH");
  }
  return SystemCallFilter(std::move(state));
}

Status SystemCallFilter::add(uint32_t action, int call, std::initializer_list<Argument> if_all) {
  std::vector<scmp_arg_cmp> conditions;
  for (const Argument& argument : if_all) {
    conditions.push_back({argument.index, SCMP_CMP_MASKED_EQ, argument.mask, argument.value});
  }
  const int error = seccomp_rule_add_array(state_->context, action, call, static_cast<unsigned>(conditions.size()),
                                           conditions.data());
  if (error != 0) return fail(-error, fmt::format("seccomp rule for system call {}", call));
  return {};
}

Status SystemCallFilter::allow(int call, std::initializer_list<Argument> if_all) {
  return add(SCMP_ACT_ALLOW, call, if_all);
}

Status SystemCallFilter::refuse(int call, int error, std::initializer_list<Argument> if_all) {
  return add(SCMP_ACT_ERRNO(static_cast<uint32_t>(error)), call, if_all);
}

Status SystemCallFilter::prefer(int call) {
  const int error = seccomp_syscall_priority(state_->context, call, 255);
  if (error != 0) return fail(-error, fmt::format("seccomp priority of system call {}", call));
  return {};
}

Status SystemCallFilter::enforce() {
  if (!filters_are_enforced()) return {};
  if (const int error = seccomp_load(state_->context); error != 0) return fail(-error, "seccomp");
  return {};
}

Status refuse_what_daemons_never_do(bool may_execute) {
  SystemCallFilter filter = TRY(SystemCallFilter::create(SystemCallFilter::Others::kAreAllowed));
  for (const int call : {SYS_ptrace,
                         SYS_process_vm_readv,
                         SYS_process_vm_writev,
                         SYS_kcmp,
                         SYS_pidfd_getfd,
                         SYS_perf_event_open,
                         SYS_bpf,
                         SYS_userfaultfd,
                         SYS_io_uring_setup,
                         SYS_keyctl,
                         SYS_add_key,
                         SYS_request_key,
                         SYS_mount,
                         SYS_umount2,
                         SYS_pivot_root,
                         SYS_chroot,
                         SYS_unshare,
                         SYS_setns,
                         SYS_move_mount,
                         SYS_fsopen,
                         SYS_open_tree,
                         SYS_mount_setattr,
                         SYS_open_by_handle_at,
                         SYS_init_module,
                         SYS_finit_module,
                         SYS_delete_module,
                         SYS_kexec_load,
                         SYS_kexec_file_load,
                         SYS_reboot,
                         SYS_swapon,
                         SYS_swapoff,
                         SYS_iopl,
                         SYS_ioperm,
                         SYS_modify_ldt,
                         SYS_acct,
                         SYS_quotactl,
                         SYS_settimeofday,
                         SYS_clock_settime,
                         SYS_adjtimex,
                         SYS_clock_adjtime,
                         SYS_sethostname,
                         SYS_setdomainname,
                         SYS_personality}) {
    TRY_VOID(filter.refuse(call, EPERM));
  }
  if (!may_execute) {
    TRY_VOID(filter.refuse(SYS_execve, EPERM));
    TRY_VOID(filter.refuse(SYS_execveat, EPERM));
  }
  // Unix sockets only: the families of the internet and all that need kernel modules.
  for (int family = 0; family < AF_MAX; ++family) {
    if (family == AF_UNIX) continue;
    TRY_VOID(filter.refuse(SYS_socket, EPERM, {{0, static_cast<uint64_t>(family), 0xffff'ffff}}));
  }
  return filter.enforce();
}

}  // namespace xenopolis::sandbox
