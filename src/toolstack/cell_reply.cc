#include "toolstack/cell_reply.h"

#include <fmt/format.h>

#include <cstring>

#include "base/printable.h"

namespace xenopolis::toolstack {
namespace {

constexpr int32_t kLastErrno = 4095;  // of Linux (MAX_ERRNO)

}  // namespace

Result<vcpu::CellReply> checked(const vcpu::CellReply& reply) {
  using Kind = vcpu::CellReplyKind;
  vcpu::CellReply result = reply;
  const std::string text = printable({reply.text, strnlen(reply.text, sizeof reply.text - 1)});
  std::memset(result.text, 0, sizeof result.text);
  text.copy(result.text, sizeof result.text - 1);
  if (reply.kind != Kind::kReady && reply.kind != Kind::kNotStarted && (reply.domid == kDom0 || reply.domid >= kDomIdCount)) {
    return fail(EPROTO, fmt::format("there can be no domain {}", reply.domid));
  }
  const bool is_errno = reply.error > 0 && reply.error <= kLastErrno;
  switch (reply.kind) {
    case Kind::kPaused:
    case Kind::kUnpaused:
    case Kind::kTriggered:
      if (reply.error == 0) return result;
      [[fallthrough]];
    case Kind::kBuildFailed:
    case Kind::kNotStarted:
      if (!is_errno) result.error = EIO;
      if (text.empty()) std::strcpy(result.text, "its cell gave no reason");
      return result;
    case Kind::kReady:
    case Kind::kBuilt:
    case Kind::kShutdown:
    case Kind::kDestroyed:
      result.error = 0;
      return result;
  }
  return fail(EPROTO, fmt::format("message {}", static_cast<uint32_t>(reply.kind)));
}

}  // namespace xenopolis::toolstack
