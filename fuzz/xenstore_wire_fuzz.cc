// The stream of messages, cut anywhere: pieces of any size must give the same messages as the whole at once, and what
// is written must be read back.
#include <cstring>
#include <vector>

#include "base/check.h"
#include "xenstore/wire.h"

namespace xenopolis::xenstore {
namespace {

struct Message {
  Header header;
  std::string payload;
};

struct Result {
  std::vector<Message> messages;
  bool is_too_long = false;
  size_t left = 0;
};

// How the reader must see `stream`, said as plainly as can be.
Result expected(std::string_view stream) {
  Result result;
  while (stream.size() >= kHeaderBytes) {
    Header header;
    std::memcpy(&header, stream.data(), kHeaderBytes);
    if (header.len > kPayloadMax) {
      result.is_too_long = true;
      break;
    }
    if (stream.size() - kHeaderBytes < header.len) break;
    result.messages.push_back({header, std::string(stream.substr(kHeaderBytes, header.len))});
    stream.remove_prefix(kHeaderBytes + header.len);
  }
  result.left = stream.size();
  return result;
}

void drain(MessageReader& reader, Result& result) {
  Header header;
  std::string_view payload;
  for (;;) {
    const bool has = reader.has_message();
    const MessageReader::Next next = reader.next(header, payload);
    CHECK(has == (next != MessageReader::Next::kIncomplete));
    if (next == MessageReader::Next::kMessage) {
      result.messages.push_back({header, std::string(payload)});
      continue;
    }
    if (next == MessageReader::Next::kTooLong) result.is_too_long = true;
    return;
  }
}

void split_strings_anyhow(std::string_view payload) {
  std::array<std::string_view, 3> strings;
  const size_t count = split_strings(payload, strings);
  CHECK(count == count_strings(payload));
  size_t bytes = 0;
  for (size_t i = 0; i < std::min(count, strings.size()); ++i) {
    CHECK(strings[i].find('\0') == std::string_view::npos);
    bytes += strings[i].size() + 1;
  }
  CHECK(bytes <= payload.size());
  std::string_view string;
  if (is_one_string(payload, string)) CHECK(count == 1 && string.size() + 1 == payload.size());
}

}  // namespace
}  // namespace xenopolis::xenstore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace xenopolis::xenstore;
  if (size < 2) return 0;
  // The first byte says how long the pieces are, the second how lengths are to be read: of arbitrary ones nearly all
  // are too long.
  const size_t piece_step = data[0];
  const bool tame = (data[1] & 1) != 0;
  std::string stream(reinterpret_cast<const char*>(data + 2), size - 2);
  if (tame) {
    for (size_t at = 0; at + kHeaderBytes <= stream.size();) {
      Header header;
      std::memcpy(&header, stream.data() + at, kHeaderBytes);
      header.len %= 40;
      std::memcpy(stream.data() + at, &header, kHeaderBytes);
      at += kHeaderBytes + header.len;
    }
  }
  const Result whole = expected(stream);
  MessageReader reader;
  Result pieces;
  size_t piece = 0;
  for (size_t at = 0; at < stream.size() && !pieces.is_too_long;) {
    piece = piece * 7 + piece_step + 1;
    const size_t bytes = std::min(piece % 61 + 1, stream.size() - at);
    reader.append(std::string_view(stream).substr(at, bytes));
    at += bytes;
    drain(reader, pieces);
  }
  CHECK(pieces.is_too_long == whole.is_too_long && pieces.messages.size() == whole.messages.size());
  if (!whole.is_too_long) CHECK(reader.pending_bytes() == whole.left);
  std::string again;
  for (size_t i = 0; i < whole.messages.size(); ++i) {
    const Message& a = whole.messages[i];
    const Message& b = pieces.messages[i];
    CHECK(std::memcmp(&a.header, &b.header, kHeaderBytes) == 0 && a.payload == b.payload);
    append_message(again, a.header.type, a.header.req_id, a.header.tx_id, {a.payload});
    split_strings_anyhow(a.payload);
  }
  CHECK(std::string_view(stream).substr(0, again.size()) == again);
  return 0;
}
