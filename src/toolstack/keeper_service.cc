#include "toolstack/keeper_service.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>

#include <deque>
#include <filesystem>
#include <map>
#include <memory>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "toolstack/keeper_protocol.h"
#include "toolstack/process.h"

namespace xenopolis::toolstack {
namespace {

constexpr uint64_t kEndsWithinNs = 10'000'000'000;

struct Entry {
  std::unique_ptr<Process> process;
  std::vector<Fd> fds;
};

std::vector<int> numbers_of(const std::vector<Fd>& fds) {
  std::vector<int> numbers;
  for (const Fd& fd : fds) numbers.push_back(fd.get());
  return numbers;
}

class Service {
 public:
  explicit Service(const KeeperConfig& config) : config_(config) {}
  ~Service() {
    // All at once, then wait for each.
    for (const auto& [key, entry] : entries_) {
      if (entry.process) entry.process->signal(SIGKILL);
    }
  }

  int run(const Signals& signals);

 private:
  Status start_polisd();
  bool serve();
  void answer(const std::vector<std::string>& fields, const std::vector<int>& fds = {});
  Status handle(const std::vector<std::string>& request, std::vector<Fd> fds);
  bool is_ours(const std::filesystem::path& program) const;
  Status spawn(const std::vector<std::string>& request, std::vector<Fd> fds);
  Status reap(pid_t pid);

  const KeeperConfig& config_;
  std::map<std::string, Entry> entries_;
  std::unique_ptr<Process> polisd_;
  Fd socket_;  // to polisd; none once it has closed its end
  std::deque<uint64_t> ends_ns_;
};

Status Service::start_polisd() {
  SocketPair pair = TRY(seqpacket_pair());
  std::vector<std::string> arguments = config_.arguments;
  arguments.insert(arguments.end(), {"--keeper-fd", fmt::to_string(kFirstInheritedFd)});
  polisd_ = std::make_unique<Process>(TRY(Process::spawn(config_.polisd, arguments, {pair.theirs.get()})));
  socket_ = std::move(pair.ours);
  return {};
}

void Service::answer(const std::vector<std::string>& fields, const std::vector<int>& fds) {
  // A polisd that has gone shows in its pidfd.
  (void)send_message(socket_.get(), message_of(fields), fds);
}

bool Service::serve() {
  Result<Message> message = receive_message(socket_.get());
  if (message && message->text.empty()) return false;
  const Status done = message ? handle(fields_of(message->text), std::move(message->fds))
                              : Status(tl::make_unexpected(message.error()));
  if (!done) {
    answer({"error", fmt::to_string(done.error().code), done.error().what});
  }
  return true;
}

Status Service::handle(const std::vector<std::string>& request, std::vector<Fd> fds) {
  const std::string& verb = request[0];
  if (verb == "spawn" && request.size() >= 4) return spawn(request, std::move(fds));
  if (verb == "keep" && request.size() == 2) {
    entries_[request[1]].fds = std::move(fds);
  } else if (verb == "forget" && request.size() == 2) {
    const auto found = entries_.find(request[1]);
    if (found != entries_.end() && found->second.process) return fail(EBUSY, request[1] + " is a process");
    if (found != entries_.end()) entries_.erase(found);
  } else if (verb == "drop" && request.size() == 2) {
    entries_.erase(request[1]);
  } else if (verb == "reap" && request.size() == 2) {
    return reap(number_in(request[1]).value_or(0));
  } else if (verb == "all") {
    for (const auto& [key, entry] : entries_) {
      std::vector<int> all = numbers_of(entry.fds);
      if (entry.process) all.insert(all.begin(), entry.process->pidfd());
      answer({"entry", key, fmt::to_string(entry.process ? entry.process->pid() : 0)}, all);
    }
  } else {
    return fail(EINVAL, "polis-keeper does not know " + verb);
  }
  answer({"ok"});
  return {};
}

// So that polisd, which executes nothing, has nothing else executed either.
bool Service::is_ours(const std::filesystem::path& program) const {
  const std::filesystem::path name = program.filename();
  return program.parent_path() == std::filesystem::path(config_.polisd).parent_path() &&
         (name == "polis-cell" || name == "polis-xenstored" || name == "polis-consoled");
}

Status Service::spawn(const std::vector<std::string>& request, std::vector<Fd> fds) {
  const size_t kept = static_cast<size_t>(std::max(0, number_in(request[2]).value_or(-1)));
  if (kept > fds.size()) return fail(EINVAL, "fewer descriptors than are to be kept");
  if (!is_ours(request[3])) return fail(EACCES, request[3] + " is no program of this host");
  Entry& entry = entries_[request[1]];
  if (entry.process) return fail(EEXIST, request[1] + " is there");
  std::vector<int> inherited = numbers_of(fds);
  inherited.erase(inherited.begin(), inherited.begin() + static_cast<long>(kept));
  Result<Process> process = Process::spawn(request[3], {request.begin() + 4, request.end()}, inherited);
  if (!process) {
    entries_.erase(request[1]);
    return tl::make_unexpected(process.error());
  }
  entry.process = std::make_unique<Process>(*std::move(process));
  fds.resize(kept);
  entry.fds = std::move(fds);
  answer({"ok", fmt::to_string(entry.process->pid())}, {entry.process->pidfd()});
  return {};
}

// polisd does not let go of a child's number before it is reaped: until then nobody else has it.
Status Service::reap(pid_t pid) {
  for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
    if (!entry->second.process || entry->second.process->pid() != pid) continue;
    answer({"ok", entry->second.process->reap()});
    entries_.erase(entry);
    return {};
  }
  return fail(ECHILD, fmt::format("process {} is no child", pid));
}

int Service::run(const Signals& signals) {
  bool is_told_to_end = false;
  for (;;) {
    if (!polisd_) {
      if (const Status started = start_polisd(); !started) {
        log::error("{}", started.error().message());
        return 1;
      }
    }
    pollfd watched[] = {
        {signals.fd(), POLLIN, 0}, {polisd_->pidfd(), POLLIN, 0}, {socket_ ? socket_.get() : -1, POLLIN, 0}};
    if (poll(watched, std::size(watched), -1) < 0) continue;
    if (watched[0].revents != 0) {
      const_cast<Signals&>(signals).next();
      is_told_to_end = true;
      polisd_->signal(SIGTERM);
    }
    // What it has asked for last is done before its end counts.
    if (watched[2].revents != 0) {
      if (!serve()) socket_.reset();
      continue;
    }
    if (watched[1].revents == 0) continue;
    const std::string how = polisd_->reap();
    const std::optional<int> status = polisd_->exit_status();
    polisd_.reset();
    if (status) return *status;
    if (is_told_to_end) return 0;
    const uint64_t now = MonotonicClock().now_ns();
    ends_ns_.push_back(now);
    while (now - ends_ns_.front() > kEndsWithinNs) ends_ns_.pop_front();
    if (ends_ns_.size() > config_.most_kills) {
      log::error("polisd {}, for the {}th time: the host ends", how, ends_ns_.size());
      return 1;
    }
    log::warn("polisd {}: starting it again, {} processes go on", how, entries_.size());
  }
}

}  // namespace

int keep_host(const KeeperConfig& config) {
  Result<Signals> signals = Signals::take_over({SIGTERM, SIGINT, SIGHUP});
  if (!signals) {
    log::error("{}", signals.error().message());
    return 1;
  }
  return Service(config).run(*signals);
}

}  // namespace xenopolis::toolstack
