// A cell that was taken over, and a keeper, as polisd hears them: messages of any size and content. What gets through
// makes sense.
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/check.h"
#include "base/printable.h"
#include "toolstack/cell_reply.h"
#include "toolstack/keeper_protocol.h"
#include "toolstack/message_socket.h"
#include "toolstack/unix_socket.h"

using namespace xenopolis;
using namespace xenopolis::toolstack;
using vcpu::CellReply;
using vcpu::CellReplyKind;

namespace {

void check_reply(const CellReply& said) {
  const Result<CellReply> believed = checked(said);
  if (!believed) return;
  CHECK(believed->kind <= CellReplyKind::kTriggered);
  const bool is_of_cell = believed->kind == CellReplyKind::kReady || believed->kind == CellReplyKind::kNotStarted;
  CHECK(is_of_cell || (believed->domid != kDom0 && believed->domid < kDomIdCount));
  const size_t length = strnlen(believed->text, sizeof believed->text);
  CHECK(length < sizeof believed->text);
  CHECK(printable({believed->text, length}) == std::string_view(believed->text, length));
  const bool has_failed = believed->error != 0;
  CHECK(believed->error >= 0 && (!has_failed || length != 0));
  CHECK(has_failed || (believed->kind != CellReplyKind::kBuildFailed && believed->kind != CellReplyKind::kNotStarted));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  EventLoop loop = EventLoop::create().value();
  SocketPair pair = seqpacket_pair().value();
  size_t heard = 0, whole = 0, sent = 0;
  MessageSocket<vcpu::CellRequest, CellReply> cell(loop, std::move(pair.ours), [&heard](const CellReply& reply) {
    ++heard;
    check_reply(reply);
  });
  CHECK(cell.start());
  // Two bytes of length before each message.
  while (size > 2) {
    const size_t length = std::min<size_t>(size - 2, (data[0] | data[1] << 8) % (sizeof(CellReply) + 16));
    data += 2;
    size -= 2;
    // An empty one looks like the end.
    if (length != 0 && send(pair.theirs.get(), data, length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
      ++sent;
      whole += length == sizeof(CellReply);
    }
    const std::string_view text(reinterpret_cast<const char*>(data), length);
    const std::vector<std::string> fields = fields_of(text);
    CHECK(!fields.empty() && fields.size() <= length + 1);
    (void)number_in(fields[0]);
    data += length;
    size -= length;
  }
  for (size_t turn = 0; turn <= sent; ++turn) CHECK(loop.run_once(0));
  CHECK(heard == whole);
  return 0;
}
