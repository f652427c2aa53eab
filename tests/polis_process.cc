#include "polis_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

namespace xenopolis::testing {
namespace {

// "pid (comm) state ppid ..." of /proc/PID/stat.
bool read_stat(pid_t pid, std::string& name, char& state, pid_t& parent) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(stat, line)) return false;
  const size_t open = line.find('(');
  const size_t close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return false;
  name = line.substr(open + 1, close - open - 1);
  return sscanf(line.c_str() + close + 1, " %c %d", &state, &parent) == 2;
}

}  // namespace

PolisProcess::PolisProcess(const std::vector<std::string>& arguments, std::optional<rlimit> files) {
  int ends[2];
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  pid_ = fork();
  EXPECT_GE(pid_, 0);
  if (pid_ == 0) {
    if (files) setrlimit(RLIMIT_NOFILE, &*files);
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    std::vector<char*> argv{const_cast<char*>(POLIS_PROGRAM)};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(POLIS_PROGRAM, argv.data());
    _exit(127);
  }
  close(ends[1]);
  pipe_ = ends[0];
}

PolisProcess::~PolisProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  if (pipe_ >= 0) close(pipe_);
}

bool PolisProcess::read_more() {
  char buffer[4096];
  const ssize_t got = read(pipe_, buffer, sizeof buffer);
  if (got > 0) output_.append(buffer, static_cast<size_t>(got));
  return got > 0;
}

bool PolisProcess::wait_for_output(const std::string& text) {
  while (output_.find(text) == std::string::npos) {
    if (!read_more()) return false;
  }
  return true;
}

int PolisProcess::wait() {
  while (read_more()) {
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void PolisProcess::signal(int number) const {
  kill(pid_, number);
}

std::vector<pid_t> PolisProcess::descendants(const std::string& name) const {
  std::map<pid_t, pid_t> parents;
  std::vector<pid_t> named;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const pid_t pid = atoi(entry.path().filename().c_str());
    std::string command;
    char state = 0;
    pid_t parent = 0;
    if (pid <= 0 || !read_stat(pid, command, state, parent) || state == 'Z') continue;
    parents[pid] = parent;
    if (command == name) named.push_back(pid);
  }
  std::erase_if(named, [&](pid_t pid) {
    while (pid != 0 && pid != pid_) pid = parents.contains(pid) ? parents[pid] : 0;
    return pid != pid_;
  });
  return named;
}

std::string PolisProcess::run_directory() const {
  for (const pid_t polisd : descendants("polisd")) {
    std::ifstream command_line("/proc/" + std::to_string(polisd) + "/cmdline");
    for (std::string argument; std::getline(command_line, argument, '\0');) {
      if (argument == "--run-dir" && std::getline(command_line, argument, '\0')) return argument;
    }
  }
  return "";
}

nlohmann::json read_results(const std::string& directory) {
  std::ifstream file(directory + "/results.json");
  return nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
}

}  // namespace xenopolis::testing
