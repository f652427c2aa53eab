#include "experiment/interruption.h"

#include <sys/epoll.h>

namespace xenopolis::experiment {

Result<std::unique_ptr<Interruption>> Interruption::watch(EventLoop& loop) {
  std::unique_ptr<Interruption> self(new Interruption(loop));
  sigprocmask(SIG_BLOCK, nullptr, &self->before_);
  self->signals_.emplace(TRY(Signals::take_over({SIGINT, SIGTERM})));
  Interruption* raw = self.get();
  TRY_VOID(loop.add(self->signals_->fd(), EPOLLIN, [raw](uint32_t) { raw->happened_ |= raw->signals_->next() != 0; }));
  return self;
}

Interruption::~Interruption() {
  if (signals_) loop_.remove(signals_->fd());
  sigprocmask(SIG_SETMASK, &before_, nullptr);
}

}  // namespace xenopolis::experiment
