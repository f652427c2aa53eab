#include "base/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>

namespace xenopolis {

Result<Signals> Signals::take_over(std::initializer_list<int> numbers) {
  sigset_t taken;
  sigemptyset(&taken);
  for (const int number : numbers) sigaddset(&taken, number);
  if (sigprocmask(SIG_BLOCK, &taken, nullptr) != 0) return fail_errno("blocking signals");
  Fd fd(signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fail_errno("signalfd");
  return Signals(std::move(fd));
}

int Signals::next() {
  signalfd_siginfo info;
  return read(fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

void die_of(int number) {
  sigset_t all;
  sigfillset(&all);
  signal(number, SIG_DFL);
  sigprocmask(SIG_UNBLOCK, &all, nullptr);
  raise(number);
  _exit(128 + number);
}

}  // namespace xenopolis
