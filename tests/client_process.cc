#include "client_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

#include "base/clock.h"

namespace xenopolis::testing {
namespace {

constexpr uint64_t kPatienceNs = 15'000'000'000;

struct Pipe {
  Fd read_end, write_end;
};

Pipe make_pipe() {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  return {Fd(ends[0]), Fd(ends[1])};
}

bool append_some(const Fd& fd, std::string& text) {
  char bytes[4096];
  const ssize_t count = fd ? read(fd.get(), bytes, sizeof bytes) : -1;
  if (count > 0) text.append(bytes, static_cast<size_t>(count));
  return count > 0;
}

}  // namespace

ClientProcess::ClientProcess(Where where, std::vector<std::string> arguments) {
  std::vector<char*> argv{const_cast<char*>(POLIS_PROGRAM)};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  Pipe in = make_pipe(), out = make_pipe(), error = make_pipe();
  Fd master;
  if (where != Where::kPipes) {
    int master_fd = -1, slave_fd = -1;
    EXPECT_EQ(openpty(&master_fd, &slave_fd, nullptr, nullptr, nullptr), 0);
    master = Fd(master_fd);
    terminal_ = Fd(slave_fd);
    fcntl(master_fd, F_SETFD, FD_CLOEXEC);
    fcntl(slave_fd, F_SETFD, FD_CLOEXEC);
  }
  pid_ = fork();
  if (pid_ == 0) {
    if (where != Where::kPipes) login_tty(dup(terminal_.get()));
    if (where == Where::kPipes) dup2(in.read_end.get(), STDIN_FILENO);
    if (where != Where::kTerminal) {
      dup2(out.write_end.get(), STDOUT_FILENO);
      dup2(error.write_end.get(), STDERR_FILENO);
    }
    execv(POLIS_PROGRAM, argv.data());
    _exit(127);
  }
  input_ = where == Where::kPipes ? std::move(in.write_end) : Fd(fcntl(master.get(), F_DUPFD_CLOEXEC, 0));
  output_ = where == Where::kTerminal ? std::move(master) : std::move(out.read_end);
  if (where != Where::kTerminal) error_output_ = std::move(error.read_end);
  for (const Fd* fd : {&output_, &error_output_}) {
    if (*fd) fcntl(fd->get(), F_SETFL, O_NONBLOCK);
  }
}

ClientProcess::~ClientProcess() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void ClientProcess::type(const std::string& text) {
  EXPECT_EQ(write(input_.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

bool ClientProcess::read_more() {
  const bool has_output = append_some(output_, shown_);
  const bool has_errors = append_some(error_output_, errors_);
  return has_output || has_errors;
}

bool ClientProcess::becomes(const std::function<bool()>& condition) {
  const MonotonicClock clock;
  const uint64_t give_up_ns = clock.now_ns() + kPatienceNs;
  for (;;) {
    while (read_more()) {
    }
    if (condition()) return true;
    if (clock.now_ns() > give_up_ns) return false;
    pollfd readable[] = {{output_ ? output_.get() : -1, POLLIN, 0},
                         {error_output_ ? error_output_.get() : -1, POLLIN, 0}};
    poll(readable, 2, 5);
    // Level-triggered, and always so when the other end is closed.
    if ((readable[0].revents & POLLHUP) != 0) usleep(1000);
  }
}

bool ClientProcess::shows(const std::string& text) {
  return becomes([&] {
    const size_t found = shown_.find(text, seen_);
    if (found != std::string::npos) seen_ = found + text.size();
    return found != std::string::npos;
  });
}

void ClientProcess::signal(int number) const {
  kill(pid_, number);
}

int ClientProcess::wait() {
  int status = 0;
  if (!becomes([&] { return waitpid(pid_, &status, WNOHANG) != 0; })) return -1;
  while (read_more()) {
  }
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void ClientProcess::resize(unsigned short columns) const {
  const winsize size{24, columns, 0, 0};
  EXPECT_EQ(ioctl(terminal_.get(), TIOCSWINSZ, &size), 0);
}

bool ClientProcess::is_raw() const {
  termios settings{};
  EXPECT_EQ(tcgetattr(terminal_.get(), &settings), 0);
  return (settings.c_lflag & (ICANON | ECHO | ISIG)) == 0 && (settings.c_oflag & OPOST) == 0;
}

bool ClientProcess::is_cooked() const {
  termios settings{};
  EXPECT_EQ(tcgetattr(terminal_.get(), &settings), 0);
  const tcflag_t wanted = ICANON | ECHO | ISIG;
  return (settings.c_lflag & wanted) == wanted && (settings.c_oflag & OPOST) != 0;
}

}  // namespace xenopolis::testing
