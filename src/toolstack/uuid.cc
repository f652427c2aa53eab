#include "toolstack/uuid.h"

#include <fmt/format.h>
#include <sys/random.h>

#include <charconv>

#include "base/check.h"

namespace xenopolis::toolstack {
namespace {

constexpr size_t kTextSize = 36;

bool has_hyphen_before(size_t byte) {
  return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

}  // namespace

Uuid random_uuid() {
  Uuid uuid;
  // So few bytes are never interrupted or cut short (getrandom(2)).
  CHECK(getrandom(uuid.data(), uuid.size(), 0) == static_cast<ssize_t>(uuid.size()));
  uuid[6] = static_cast<uint8_t>((uuid[6] & 0x0f) | 0x40);
  uuid[8] = static_cast<uint8_t>((uuid[8] & 0x3f) | 0x80);
  return uuid;
}

std::string to_text(const Uuid& uuid) {
  std::string text;
  text.reserve(kTextSize);
  for (size_t byte = 0; byte < uuid.size(); ++byte) {
    if (has_hyphen_before(byte)) text.push_back('-');
    fmt::format_to(std::back_inserter(text), "{:02x}", uuid[byte]);
  }
  return text;
}

Result<Uuid> parse_uuid(std::string_view text) {
  const auto refuse = [&] {
    return fail(EINVAL, fmt::format("\"{}\" is no UUID (8-4-4-4-12 hexadecimal digits)", text.substr(0, 64)));
  };
  if (text.size() != kTextSize) return refuse();
  Uuid uuid;
  const char* next = text.data();
  for (size_t byte = 0; byte < uuid.size(); ++byte) {
    if (has_hyphen_before(byte) && *next++ != '-') return refuse();
    const auto [end, error] = std::from_chars(next, next + 2, uuid[byte], 16);
    if (error != std::errc() || end != next + 2) return refuse();
    next = end;
  }
  return uuid;
}

}  // namespace xenopolis::toolstack
