#include "xenstore/wire.h"

#include <cstring>

#include "base/check.h"
#include "xenstore/work.h"

namespace xenopolis::xenstore {

// A connection that has been quiet keeps no more than this.
constexpr size_t kKeptBytes = 1024;

void MessageReader::append(std::string_view bytes) {
  if (taken_ > 0) {
    bytes_.erase(0, taken_);
    taken_ = 0;
  }
  bytes_.append(bytes);
}

bool MessageReader::has_message() const {
  if (pending_bytes() < kHeaderBytes) return false;
  Header header;
  std::memcpy(&header, bytes_.data() + taken_, kHeaderBytes);
  return header.len > kPayloadMax || pending_bytes() >= kHeaderBytes + header.len;
}

size_t MessageReader::missing_bytes() const {
  if (has_message()) return 0;
  if (pending_bytes() < kHeaderBytes) return kHeaderBytes - pending_bytes();
  Header header;
  std::memcpy(&header, bytes_.data() + taken_, kHeaderBytes);
  return kHeaderBytes + header.len - pending_bytes();
}

MessageReader::Next MessageReader::next(Header& header, std::string_view& payload) {
  if (pending_bytes() < kHeaderBytes) {
    if (pending_bytes() == 0) {
      bytes_.clear();
      taken_ = 0;
      if (bytes_.capacity() > kKeptBytes) bytes_.shrink_to_fit();
    }
    return Next::kIncomplete;
  }
  std::memcpy(&header, bytes_.data() + taken_, kHeaderBytes);
  if (header.len > kPayloadMax) return Next::kTooLong;
  if (pending_bytes() < kHeaderBytes + header.len) return Next::kIncomplete;
  payload = std::string_view(bytes_).substr(taken_ + kHeaderBytes, header.len);
  taken_ += kHeaderBytes + header.len;
  return Next::kMessage;
}

void append_message(std::string& out, uint32_t type, uint32_t request_id, uint32_t transaction_id,
                    std::initializer_list<std::string_view> parts) {
  size_t bytes = 0;
  for (const std::string_view part : parts) bytes += part.size();
  CHECK(bytes <= kPayloadMax);
  count_work(1);
  count_bytes(bytes);
  const Header header{type, request_id, transaction_id, static_cast<uint32_t>(bytes)};
  out.append(reinterpret_cast<const char*>(&header), kHeaderBytes);
  for (const std::string_view part : parts) out.append(part);
}

size_t split_strings(std::string_view payload, std::span<std::string_view> strings) {
  size_t count = 0;
  for (size_t nul = payload.find('\0'); nul != std::string_view::npos; nul = payload.find('\0')) {
    if (count < strings.size()) strings[count] = payload.substr(0, nul);
    ++count;
    payload.remove_prefix(nul + 1);
  }
  return count;
}

size_t count_strings(std::string_view payload) {
  return split_strings(payload, {});
}

bool is_one_string(std::string_view payload, std::string_view& string) {
  if (payload.empty() || payload.find('\0') != payload.size() - 1) return false;
  string = payload.substr(0, payload.size() - 1);
  return true;
}

}  // namespace xenopolis::xenstore
