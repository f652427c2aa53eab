#include "xenstore/ring_progress.h"

#include <array>
#include <cstring>

namespace xenopolis::xenstore {
namespace {

struct Encoded {
  uint32_t requests, responses, is_closed, cut, input_bytes;
};

}  // namespace

std::string RingProgress::encode() const {
  const Encoded encoded{requests, responses, is_closed, cut, static_cast<uint32_t>(input.size())};
  std::string bytes(reinterpret_cast<const char*>(&encoded), sizeof encoded);
  return bytes.append(input).append(output);
}

std::optional<RingProgress> RingProgress::decode(std::string_view payload) {
  Encoded encoded;
  if (payload.size() < sizeof encoded) return std::nullopt;
  std::memcpy(&encoded, payload.data(), sizeof encoded);
  payload.remove_prefix(sizeof encoded);
  if (encoded.input_bytes > payload.size() || encoded.cut > payload.size() - encoded.input_bytes) return std::nullopt;
  return RingProgress{encoded.requests,
                      encoded.responses,
                      encoded.is_closed != 0,
                      encoded.cut,
                      std::string(payload.substr(0, encoded.input_bytes)),
                      std::string(payload.substr(encoded.input_bytes))};
}

RingProgress RingProgress::brought_up_to(uint64_t word) const {
  const auto ahead = [](uint32_t index, uint32_t of) { return static_cast<int32_t>(index - of); };
  const RingProgress now = at(word);
  const int32_t more_requests = ahead(now.requests, requests), more_responses = ahead(now.responses, responses);
  const bool is_ahead = more_requests >= 0 && more_responses >= 0 && (more_requests > 0 || more_responses > 0);
  return is_ahead ? now : *this;
}

}  // namespace xenopolis::xenstore
