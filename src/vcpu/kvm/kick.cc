#include "vcpu/kvm/kick.h"

#include <atomic>
#include <csignal>

#include "machine/doorbell.h"

namespace xenopolis::vcpu::kvm {
namespace {

// Shared with the signal handler of the same thread only.
thread_local kvm_run* volatile t_run = nullptr;
thread_local volatile sig_atomic_t t_kicked = 0;

void on_kick(int) {
  t_kicked = 1;
  if (t_run != nullptr) t_run->immediate_exit = 1;
}

}  // namespace

Status install_kick_handler() {
  struct sigaction action {};
  action.sa_handler = on_kick;  // no SA_RESTART: KVM_RUN must return
  sigemptyset(&action.sa_mask);
  if (sigaction(machine::Doorbells::kick_signal(), &action, nullptr) != 0) return fail_errno("sigaction for kicks");
  return {};
}

// A kick before this is in t_kicked, so a leftover in immediate_exit, of a kick that is long taken, can go.
KickScope::KickScope(kvm_run* run) : run_(run) {
  run_->immediate_exit = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  t_run = run;
}

KickScope::~KickScope() {
  t_run = nullptr;
}

bool KickScope::take() {
  if (t_kicked == 0) return false;
  // A kick between the two stores keeps t_kicked set and is seen at the next entry.
  t_kicked = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
  run_->immediate_exit = 0;
  return true;
}

void KickScope::defer() {
  run_->immediate_exit = 0;
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace xenopolis::vcpu::kvm
