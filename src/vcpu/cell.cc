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

template <size_t kSize>
void put_text(char (&field)[kSize], std::string_view text) {
  const size_t length = std::min(text.size(), kSize - 1);
  std::memcpy(field, text.data(), length);
  field[length] = '\0';
}

}  // namespace

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
  const ssize_t size = recv(control_.get(), &request, sizeof request, MSG_DONTWAIT);
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
  request.image_path[kMaxImagePath - 1] = '\0';
  switch (request.kind) {
    case CellRequestKind::kBuild:
      build(request);
      return Control::kRequest;
    case CellRequestKind::kDestroy:
      destroy(request);
      return Control::kRequest;
    case CellRequestKind::kQuit:
      return Control::kEnd;
  }
  log::error("control socket: request {}", static_cast<uint32_t>(request.kind));
  return Control::kRequest;
}

Result<Booted> Cell::try_build(const CellRequest& request) {
  if (request.slot >= machine::kVcpusPerDoorbell || runner_->occupied(request.slot)) {
    return fail(EBUSY, fmt::format("slot {} of cell {} is not free", request.slot, config_.number));
  }
  if (request.domid == kDom0 || request.domid >= kDomIdCount) {
    return fail(EINVAL, fmt::format("there can be no domain {}", request.domid));
  }
  if (domain::record_of(request.domid).state.load(std::memory_order_acquire) != domain::State::kBuilding) {
    return fail(EBUSY, fmt::format("domain {} is not there to be built", request.domid));
  }
  const auto image = TRY(images_.load(request.image_path));
  return boot(hypervisor_, backend_, *image, request.domid);
}

void Cell::build(const CellRequest& request) {
  CellReply message{};
  message.domid = request.domid;
  Result<Booted> booted = try_build(request);
  if (!booted) {
    message.kind = CellReplyKind::kBuildFailed;
    message.error = booted.error().code;
    put_text(message.text, booted.error().what);
    return reply(message);
  }
  domain::record_of(request.domid).state.store(domain::State::kRunning, std::memory_order_release);
  runner_->add(request.slot, std::move(booted->domain));
  message.kind = CellReplyKind::kBuilt;
  message.store_gfn = booted->store_gfn;
  message.console_gfn = booted->console_gfn;
  reply(message);
}

void Cell::destroy(const CellRequest& request) {
  // The slot may be another domain's by now, if this one has ended by itself.
  if (request.slot < machine::kVcpusPerDoorbell && runner_->occupied(request.slot) &&
      runner_->domid_of(request.slot) == request.domid) {
    runner_->remove(request.slot);
  }
  CellReply message{};
  message.kind = CellReplyKind::kDestroyed;
  message.domid = request.domid;
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
