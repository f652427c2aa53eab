#include "experiment/console_watch.h"

#include <sys/epoll.h>

#include "base/log.h"

namespace xenopolis::experiment {
namespace {

constexpr int kPatienceMs = 10'000;
// What is kept of a console before anything is expected of it, and more than any expected text.
constexpr size_t kTailBytes = 4096;

uint32_t key_of(console::ConsoleId console) {
  return uint32_t{console.domid} << 16 | console.index;
}

}  // namespace

Result<std::unique_ptr<ConsoleWatch>> ConsoleWatch::start(EventLoop& loop, std::string path, Seen seen) {
  std::unique_ptr<ConsoleWatch> watch(new ConsoleWatch(loop, std::move(path), std::move(seen)));
  TRY_VOID(watch->listen());
  return watch;
}

ConsoleWatch::~ConsoleWatch() {
  if (line_) loop_.remove(line_->fd());
}

// The past too: it may have been written while nobody listened.
Status ConsoleWatch::listen() {
  console::ClientRequest request;
  request.op = console::ClientRequest::Op::kWatch;
  line_ = TRY(console::ClientLine::open(path_, request, kPatienceMs));
  names_.clear();
  return loop_.add(line_->fd(), EPOLLIN, [this](uint32_t) { receive(); });
}

void ConsoleWatch::expect(const std::string& name, const std::string& text) {
  Domain& domain = domains_[name];
  domain.text = text;
  look(name, domain);
}

void ConsoleWatch::receive() {
  const bool is_open = line_->receive();
  while (const auto frame = line_->next()) {
    const uint32_t console = key_of(frame->header.console);
    if (frame->header.kind == console::FrameKind::kConsole) names_[console] = frame->payload;
    if (frame->header.kind == console::FrameKind::kEnd) names_.erase(console);
    if (frame->header.kind != console::FrameKind::kText) continue;
    const std::string& name = names_[console];
    Domain& domain = domains_[name];
    if (domain.is_done) continue;
    domain.tail += frame->payload;
    look(name, domain);
  }
  if (is_open) return;
  loop_.remove(line_->fd());
  line_.reset();
  if (const Status again = listen(); !again) log::error("listening to consoles: {}", again.error().message());
}

void ConsoleWatch::look(const std::string& name, Domain& domain) {
  if (domain.is_done) return;
  if (!domain.text.empty() && domain.tail.find(domain.text) != std::string::npos) {
    domain = {.text = {}, .tail = {}, .is_done = true};
    return seen_(name);
  }
  if (domain.tail.size() > 2 * kTailBytes) domain.tail.erase(0, domain.tail.size() - kTailBytes);
}

}  // namespace xenopolis::experiment
