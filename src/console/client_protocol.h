// What polis-consoled and its clients say on RUN/console.sock, a SOCK_STREAM socket.
//
// The client sends one line of JSON, a request, the daemon answers with one: {"ok":true,...}, or
// {"ok":false,"errno":2,"error":"..."}. Then both send frames: a FrameHeader, then so many bytes as it says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "console/console_protocol.h"

namespace xenopolis::console {

// How much of what was written before is wanted.
enum class Past {
  kAll,    // that is held
  kSince,  // ClientRequest::since_ms
  kFrom,   // ClientRequest::from: for who goes on where he was. Of one console only
  kNone,
};

// In JSON:
// {"op":"attach","domain":"web","console":0,"past":"since","since_ms":1,"follow":true,"write":true,"force":false} and
// {"op":"watch","patterns":["web*","7"],"past":"none","follow":true}. What is not there is as below.
struct ClientRequest {
  enum class Op {
    kAttach,  // to one console. Answer: "domid", "name", "writes" (whether this client does), "writer_pid" (who does)
    kWatch,   // all consoles of some domains, those to come too
  };
  Op op = Op::kAttach;
  std::string domain;                 // kAttach: a name or, when nobody has that name, a domid
  uint16_t console = 0;               // kAttach: 0 is that of start_info
  std::vector<std::string> patterns;  // kWatch: names with * and ?, or domids; none: all domains
  Past past = Past::kAll;
  uint64_t since_ms = 0;  // what was written then or later; milliseconds since 1970
  uint64_t from = 0;      // offset in the stream
  bool follow = true;     // false: when the past is over the daemon ends the connection
  bool write = false;     // kAttach: wants to send kInput. One client does at a time
  bool force = false;     // kAttach: in place of whoever does
};

// With its newline.
std::string to_line(const ClientRequest& request);
// EINVAL, with a reason for people. `line` may be anything.
Result<ClientRequest> parse_request(std::string_view line);

enum class FrameKind : uint16_t {
  // To the client.
  kConsole = 1,  // payload: the name of the domain that `console` belongs to; before anything else of it
  kText,         // payload: of the guest; `offset` of its first byte in the stream, `number`: ms since 1970
  kMissed,       // `number` bytes from `offset` on are not to be had any more
  kLive,         // the past is over: what follows is new, or the end
  kEnd,          // the console is gone
  kNotice,       // payload: for the person at the terminal
  kInputTaken,   // what a client had to say that has shut down its side is in the guest's ring
  // From the client.
  kInput = 64,  // payload: for the guest
};

struct FrameHeader {
  FrameKind kind;
  ConsoleId console;
  uint16_t reserved;   // 0
  uint32_t bytes;      // of payload
  uint32_t reserved2;  // 0
  uint64_t offset;
  uint64_t number;
};
static_assert(sizeof(FrameHeader) == 32);

// Of either side, at most.
inline constexpr uint32_t kMaxPayload = 16 * 1024;
inline constexpr size_t kMaxRequestLine = 8 * 1024;
inline constexpr size_t kMaxPatterns = 64;
inline constexpr size_t kMaxPatternBytes = 128;

void append_frame(std::string& output, FrameHeader header, std::string_view payload = {});

struct Frame {
  FrameHeader header;
  std::string_view payload;
};

// Frames out of a stream of bytes.
class FrameReader {
 public:
  void receive(std::string_view bytes);
  // The next whole frame; valid until receive().
  std::optional<Frame> next();
  // The other side is out of its mind: no payload is that large.
  bool is_broken() const { return is_broken_; }
  size_t pending_bytes() const { return bytes_.size() - taken_; }

 private:
  std::string bytes_;
  size_t taken_ = 0;
  bool is_broken_ = false;
};

// Whether `text` is what `pattern` describes: * is any text, ? any one character. At most text times pattern steps.
bool matches_glob(std::string_view pattern, std::string_view text);

}  // namespace xenopolis::console
