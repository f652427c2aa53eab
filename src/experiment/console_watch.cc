#include "experiment/console_watch.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#include <cstring>
#include <vector>

namespace xenopolis::experiment {
namespace {

constexpr std::string_view kSuffix = ".log";

}  // namespace

Result<std::unique_ptr<ConsoleWatch>> ConsoleWatch::start(EventLoop& loop, std::string directory, Seen seen) {
  Fd inotify(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!inotify) return fail_errno("inotify_init1");
  if (inotify_add_watch(inotify.get(), directory.c_str(), IN_MODIFY) < 0) return fail_errno("watching " + directory);
  std::unique_ptr<ConsoleWatch> watch(
      new ConsoleWatch(loop, std::move(inotify), std::move(directory), std::move(seen)));
  ConsoleWatch* self = watch.get();
  TRY_VOID(loop.add(self->inotify_.get(), EPOLLIN, [self](uint32_t) { self->on_changes(); }));
  return watch;
}

ConsoleWatch::~ConsoleWatch() {
  loop_.remove(inotify_.get());
}

void ConsoleWatch::expect(const std::string& name, const std::string& text) {
  expected_[name] = Expectation{text};
  look(name);
}

void ConsoleWatch::on_changes() {
  alignas(inotify_event) char buffer[64 * 1024];
  const ssize_t got = read(inotify_.get(), buffer, sizeof buffer);
  for (ssize_t offset = 0; offset < got;) {
    inotify_event event;
    std::memcpy(&event, buffer + offset, sizeof event);
    if ((event.mask & IN_Q_OVERFLOW) != 0) {
      std::vector<std::string> names;
      for (const auto& [name, expectation] : expected_) names.push_back(name);
      for (const std::string& name : names) look(name);
    } else if (event.len > 0) {
      std::string_view file(buffer + offset + sizeof event);
      if (file.size() > kSuffix.size()) look(std::string(file.substr(0, file.size() - kSuffix.size())));
    }
    offset += static_cast<ssize_t>(sizeof event + event.len);
  }
}

void ConsoleWatch::look(const std::string& name) {
  const auto found = expected_.find(name);
  if (found == expected_.end()) return;
  Expectation& expectation = found->second;
  const Fd file(open((directory_ + "/" + name + std::string(kSuffix)).c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return;
  char buffer[16 * 1024];
  for (;;) {
    const ssize_t got = pread(file.get(), buffer, sizeof buffer, static_cast<off_t>(expectation.offset));
    if (got <= 0) return;
    if (std::string_view(buffer, static_cast<size_t>(got)).find(expectation.text) != std::string_view::npos) {
      expected_.erase(found);
      seen_(name);
      return;
    }
    // The text may begin in this piece and end in the next one.
    const auto overlap = static_cast<ssize_t>(expectation.text.size()) - 1;
    if (got <= overlap) return;
    expectation.offset += static_cast<uint64_t>(got - overlap);
    if (got < static_cast<ssize_t>(sizeof buffer)) return;
  }
}

}  // namespace xenopolis::experiment
