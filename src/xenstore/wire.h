// Messages as bytes: a header (xs_wire.h, struct xsd_sockmsg, in the byte order of the machine) and a payload.
#pragma once

#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "xen_abi/xen.h"
#include "xen_abi/xenstore.h"

namespace xenopolis::xenstore {

using Header = xsd_sockmsg;
inline constexpr size_t kHeaderBytes = 16;
inline constexpr size_t kPayloadMax = 4096;
// What this server can do, as bits of the ring page's server_features.
inline constexpr uint32_t kServerFeatures =
    kXenstoreFeatureReconnection | kXenstoreFeatureError | kXenstoreFeatureWatchDepth;
static_assert(kHeaderBytes == sizeof(Header) && kPayloadMax == XENSTORE_PAYLOAD_MAX);

// Takes a stream of bytes in pieces of any size and gives whole messages. Holds what append() brought, so its user
// bounds it by asking for pending_bytes() first.
class MessageReader {
 public:
  enum class Next { kMessage, kIncomplete, kTooLong };

  void append(std::string_view bytes);

  // kMessage: `header` and `payload` are the next message, `payload` valid until the next append(). kTooLong: the
  // stream cannot be followed any further (xenstore.txt: such a connection is killed).
  Next next(Header& header, std::string_view& payload);
  // The message with `header`, which next() gave last, will be given again.
  void put_back(const Header& header) { taken_ -= kHeaderBytes + header.len; }

  // Whether next() would not answer kIncomplete.
  bool has_message() const;
  size_t pending_bytes() const { return bytes_.size() - taken_; }
  std::string_view pending() const { return std::string_view(bytes_).substr(taken_); }
  // So many bytes at least are missing before next() has something: of a header, or of the payload that it announces.
  size_t missing_bytes() const;

 private:
  std::string bytes_;
  size_t taken_ = 0;
};

// Appends one message. The parts together must not exceed kPayloadMax.
void append_message(std::string& out, uint32_t type, uint32_t request_id, uint32_t transaction_id,
                    std::initializer_list<std::string_view> parts);

// A payload of strings that end in nuls. What follows the last nul is no string.
size_t count_strings(std::string_view payload);
// Fills `strings` from the front and answers how many strings there are, which may be more.
size_t split_strings(std::string_view payload, std::span<std::string_view> strings);

// The whole payload as one string with its nul at the end and nowhere else.
bool is_one_string(std::string_view payload, std::string_view& string);

// Decimal and nothing else.
template <class Integer>
bool parse_decimal(std::string_view text, Integer& value) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end;
}

}  // namespace xenopolis::xenstore
