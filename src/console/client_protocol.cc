#include "console/client_protocol.h"

#include <cstring>

namespace xenopolis::console {

void append_frame(std::string& output, FrameHeader header, std::string_view payload) {
  header.bytes = static_cast<uint32_t>(payload.size());
  output.append(reinterpret_cast<const char*>(&header), sizeof header);
  output.append(payload);
}

void FrameReader::receive(std::string_view bytes) {
  bytes_.erase(0, taken_);
  taken_ = 0;
  bytes_.append(bytes);
}

std::optional<Frame> FrameReader::next() {
  Frame frame;
  if (is_broken_ || pending_bytes() < sizeof frame.header) return std::nullopt;
  std::memcpy(&frame.header, bytes_.data() + taken_, sizeof frame.header);
  if (frame.header.bytes > kMaxPayload) {
    is_broken_ = true;
    return std::nullopt;
  }
  if (pending_bytes() < sizeof frame.header + frame.header.bytes) return std::nullopt;
  frame.payload = std::string_view(bytes_).substr(taken_ + sizeof frame.header, frame.header.bytes);
  taken_ += sizeof frame.header + frame.header.bytes;
  return frame;
}

bool matches_glob(std::string_view pattern, std::string_view text) {
  size_t p = 0, t = 0;
  // Where the last star was, and up to where it has been taken to reach: earlier stars need not be tried again.
  size_t star = std::string_view::npos, reach = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      reach = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++reach;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace xenopolis::console
