#include "vcpu/cell.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"

namespace xenopolis::vcpu {
namespace {

// How soon a reply is tried again that found the socket full.
constexpr uint64_t kReplyRetryNs = 1'000'000;

// As recv() without waiting. Descriptors beyond the last of `fds` are closed by the kernel.
template <size_t kCount>
ssize_t receive_with_fds(int socket, CellRequest& request, std::array<Fd, kCount>& fds) {
  iovec data{&request, sizeof request};
  alignas(cmsghdr) char control[CMSG_SPACE(kCount * sizeof(int))];
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  const ssize_t size = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (size < 0) return size;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      Fd owned(fd);
      if (i < kCount) fds[i] = std::move(owned);
    }
  }
  // A message of more bytes than a request has.
  return (header.msg_flags & MSG_TRUNC) != 0 ? size + 1 : size;
}

Status no_such_domain(DomId domid) {
  return fail(ESRCH, fmt::format("domain {} does not run", domid));
}

template <size_t kSize>
std::string text_of(const char (&field)[kSize]) {
  return std::string(field, strnlen(field, kSize));
}

template <size_t kSize>
void put_text(char (&field)[kSize], std::string_view text) {
  const size_t length = std::min(text.size(), kSize - 1);
  std::memcpy(field, text.data(), length);
  field[length] = '\0';
}

}  // namespace

CellReply not_started(const Error& why) {
  CellReply reply{};
  reply.kind = CellReplyKind::kNotStarted;
  reply.error = why.code;
  put_text(reply.text, why.what);
  return reply;
}

Cell::Cell(machine::Machine& machine, Backend& backend, Fd control, const CellConfig& config)
    : events_(machine),
      grants_(machine),
      hypervisor_{machine, events_, grants_, clock_},
      doorbells_(machine.doorbells()),
      backend_(backend),
      control_(std::move(control)),
      config_(config) {}

Status Cell::run() {
  const auto on_ended = [this](const Runner::Ended& ended) {
    CellReply message{};
    message.kind = CellReplyKind::kShutdown;
    message.domid = ended.domid;
    message.shutdown_reason = ended.reason;
    put_text(message.text, ended.text);
    reply(message);
  };
  runner_ = TRY(Runner::create(hypervisor_, {.bell = config_.number, .slice_ns = config_.slice_ns}, on_ended));
  CellReply ready{};
  ready.kind = CellReplyKind::kReady;
  reply(ready);

  bool look = true;  // requests that came before the doorbell was adopted
  for (;;) {
    if (doorbells_.take_attention(config_.number)) look = true;
    if (look) {
      // One request between two slices, so that a burst of them does not hold up the domains that run.
      const Control control = receive();
      if (control == Control::kEnd) break;
      look = control == Control::kRequest;
    }
    flush_replies();
    runner_->turn();
    if (look || !runner_->idle()) continue;
    runner_->sleep(replies_.empty() ? std::nullopt : std::optional(clock_.now_ns() + kReplyRetryNs));
  }
  runner_.reset();
  return {};
}

Cell::Control Cell::receive() {
  CellRequest request;
  RequestFds fds;
  const ssize_t size = receive_with_fds(control_.get(), request, fds);
  if (size == 0) return Control::kEnd;
  if (size < 0) {
    if (errno == EAGAIN || errno == EINTR) return Control::kNothing;
    log::error("control socket: {}", std::strerror(errno));
    return Control::kEnd;
  }
  if (size != static_cast<ssize_t>(sizeof request)) {
    log::error("control socket: a message of {} bytes", size);
    return Control::kRequest;
  }
  switch (request.kind) {
    case CellRequestKind::kBuild:
      build(request, fds);
      return Control::kRequest;
    case CellRequestKind::kDestroy:
      destroy(request);
      return Control::kRequest;
    case CellRequestKind::kPause:
      answer(CellReplyKind::kPaused, request, pause(request, true));
      return Control::kRequest;
    case CellRequestKind::kUnpause:
      answer(CellReplyKind::kUnpaused, request, pause(request, false));
      return Control::kRequest;
    case CellRequestKind::kTrigger:
      answer(CellReplyKind::kTriggered, request, trigger(request));
      return Control::kRequest;
    case CellRequestKind::kQuit:
      return Control::kEnd;
  }
  log::error("control socket: request {}", static_cast<uint32_t>(request.kind));
  return Control::kRequest;
}

Result<Booted> Cell::try_build(const CellRequest& request, const RequestFds& fds) {
  if (request.slot >= machine::kVcpusPerDoorbell || runner_->occupied(request.slot)) {
    return fail(EBUSY, fmt::format("slot {} of cell {} is not free", request.slot, config_.number));
  }
  if (request.domid == kDom0 || request.domid >= kDomIdCount) {
    return fail(EINVAL, fmt::format("there can be no domain {}", request.domid));
  }
  if (domain::record_of(request.domid).state.load(std::memory_order_acquire) != domain::State::kBuilding) {
    return fail(EBUSY, fmt::format("domain {} is not there to be built", request.domid));
  }
  if (!fds[0]) return fail(EBADF, fmt::format("domain {} came without its kernel image", request.domid));
  const std::string name = text_of(domain::record_of(request.domid).configuration.image);
  const auto image = TRY(images_.load(fds[0].get(), name));
  return boot(hypervisor_, backend_, *image, request.domid, fds[1].get());
}

void Cell::build(const CellRequest& request, const RequestFds& fds) {
  CellReply message{};
  message.domid = request.domid;
  Result<Booted> booted = try_build(request, fds);
  if (!booted) {
    message.kind = CellReplyKind::kBuildFailed;
    message.error = booted.error().code;
    put_text(message.text, booted.error().what);
    return reply(message);
  }
  domain::DomainRecord& record = domain::record_of(request.domid);
  record.state.store(domain::State::kRunning, std::memory_order_release);
  runner_->add(request.slot, std::move(booted->domain), record.is_paused.load());
  message.kind = CellReplyKind::kBuilt;
  message.store_gfn = booted->store_gfn;
  message.console_gfn = booted->console_gfn;
  reply(message);
}

void Cell::destroy(const CellRequest& request) {
  if (has(request)) runner_->remove(request.slot);
  CellReply message{};
  message.kind = CellReplyKind::kDestroyed;
  message.domid = request.domid;
  reply(message);
}

bool Cell::has(const CellRequest& request) const {
  return request.slot < machine::kVcpusPerDoorbell && runner_->occupied(request.slot) &&
         runner_->domid_of(request.slot) == request.domid;
}

Status Cell::pause(const CellRequest& request, bool is_paused) {
  if (!has(request)) return no_such_domain(request.domid);
  runner_->set_paused(request.slot, is_paused);
  return {};
}

Status Cell::trigger(const CellRequest& request) {
  if (!has(request)) return no_such_domain(request.domid);
  if (runner_->raise_nmi(request.slot)) return {};
  return fail(ENXIO, fmt::format("domain {} takes no NMI: its guest has registered no callback for it "
                                 "(CALLBACKTYPE_nmi)",
                                 request.domid));
}

void Cell::answer(CellReplyKind kind, const CellRequest& request, const Status& status) {
  CellReply message{};
  message.kind = kind;
  message.domid = request.domid;
  if (!status) {
    message.error = status.error().code;
    put_text(message.text, status.error().what);
  }
  reply(message);
}

void Cell::reply(const CellReply& message) {
  replies_.push_back(message);
  flush_replies();
}

void Cell::flush_replies() {
  while (!replies_.empty()) {
    if (send(control_.get(), &replies_.front(), sizeof(CellReply), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
      if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS) return;
      replies_.clear();  // nobody reads any more: receive() will see that
      return;
    }
    replies_.pop_front();
  }
}

}  // namespace xenopolis::vcpu
