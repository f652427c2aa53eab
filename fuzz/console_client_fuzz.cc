// What a console's client takes from others: frames, and a guest's text on its way to a terminal. What the daemon takes
// from a client: its request.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>

#include "base/check.h"
#include "cli/lines.h"
#include "console/client_protocol.h"

namespace xenopolis {
namespace {

struct Taken {
  std::vector<std::string> lines;
  std::string kept;
  bool operator==(const Taken&) const = default;
};

// The text in pieces of `step` bytes.
Taken take(std::string_view text, size_t step) {
  Taken taken;
  cli::Lines lines;
  console::EscapeScanner scanner;
  const auto visit = [&](std::string_view line, uint64_t) { taken.lines.emplace_back(line); };
  for (size_t at = 0; at < text.size(); at += step) {
    const std::string_view piece = text.substr(at, step);
    lines.add(piece, 1, visit);
    scanner.scan(piece, [&](console::TokenKind kind, std::string_view token) {
      if (!console::asks_terminal(kind, token)) taken.kept += token;
    });
  }
  lines.finish(visit);
  return taken;
}

void check_text(std::string_view text, size_t step) {
  const Taken whole = take(text, text.size() + 1);
  CHECK(take(text, step) == whole);
  CHECK(whole.kept.size() <= text.size());
  for (const std::string& line : whole.lines) {
    CHECK(line.size() <= cli::Lines::kMostBytes);
    CHECK(std::none_of(line.begin(), line.end(), [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 0x7f; }));
    for (size_t i = 0; i + 1 < line.size(); ++i) {
      CHECK(line[i] != '\xc2' || static_cast<uint8_t>(line[i + 1]) >= 0xa0);
    }
  }
}

void check_request(std::string_view line) {
  const auto request = console::parse_request(line);
  if (!request) return;
  const std::string written = console::to_line(*request);
  const auto again = console::parse_request(written);
  CHECK(again && console::to_line(*again) == written);
}

void check_frames(std::string_view bytes, size_t step) {
  console::FrameReader reader;
  size_t taken = 0;
  for (size_t at = 0; at < bytes.size() && !reader.is_broken(); at += step) {
    reader.receive(bytes.substr(at, step));
    while (const auto frame = reader.next()) {
      taken += sizeof frame->header + frame->payload.size();
      CHECK(frame->payload.size() == frame->header.bytes);
    }
    CHECK(taken + reader.pending_bytes() == std::min(at + step, bytes.size()));
  }
}

}  // namespace
}  // namespace xenopolis

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  const size_t step = input.ConsumeIntegralInRange<size_t>(1, 64);
  const std::string bytes = input.ConsumeRemainingBytesAsString();
  xenopolis::check_text(bytes, step);
  xenopolis::check_request(bytes);
  xenopolis::check_frames(bytes, step);
  return 0;
}
