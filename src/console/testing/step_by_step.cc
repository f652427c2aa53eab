#include "console/testing/step_by_step.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

namespace xenopolis::console {
namespace {

constexpr int kNoTracing = 3;

class Child {
 public:
  Child(const std::function<void()>& prepare, const std::function<void()>& act) : pid_(fork()) {
    CHECK(pid_ >= 0);
    if (pid_ != 0) return;
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(kNoTracing);
    prepare();
    raise(SIGSTOP);
    act();
    raise(SIGSTOP);
    _exit(0);
  }
  ~Child() {
    kill(pid_, SIGKILL);
    int status = 0;
    while (waitpid(pid_, &status, __WALL) == pid_ && !WIFEXITED(status) && !WIFSIGNALED(status)) {
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // The signal that it has stopped with; 0: it has ended.
  int wait() {
    int status = 0;
    CHECK(waitpid(pid_, &status, 0) == pid_);
    if (WIFSTOPPED(status)) return WSTOPSIG(status);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == kNoTracing);
    return 0;
  }
  void step() { CHECK(ptrace(PTRACE_SINGLESTEP, pid_, nullptr, nullptr) == 0); }

 private:
  pid_t pid_;
};

}  // namespace

unsigned for_every_moment(const std::vector<const Fd*>& files, const std::function<void()>& prepare,
                          const std::function<void()>& act,
                          const std::function<void(const std::vector<FileContents>&)>& look) {
  Child child(prepare, act);
  if (child.wait() == 0) return 0;
  std::vector<FileContents> contents(files.size());
  unsigned moments = 0;
  for (int signal = SIGTRAP;; signal = child.wait()) {
    CHECK(signal == SIGTRAP || signal == SIGSTOP);
    bool changed = moments == 0;
    for (size_t i = 0; i < files.size(); ++i) changed |= contents[i].update(*files[i]);
    if (changed) {
      ++moments;
      look(contents);
    }
    if (signal == SIGSTOP) return moments;
    child.step();
  }
}

}  // namespace xenopolis::console
