// Terminal output taken apart: text, control characters, escape sequences (ECMA-48, and what xterm adds).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace xenopolis::console {

enum class TokenKind {
  kText,      // of one or more bytes, none below 0x20; UTF-8 if the guest writes that
  kControl,   // one byte: of 0x00 .. 0x1f, or 0x7f
  kSequence,  // from ESC to its end, or as much of it as is kept
};

// Goes through bytes as they come; a sequence may come in pieces.
class EscapeScanner {
 public:
  template <class Visitor>  // void(TokenKind, std::string_view)
  void scan(std::string_view bytes, Visitor&& visit) {
    for (size_t at = 0; at < bytes.size();) {
      if (state_ == State::kText) {
        const size_t end = end_of_text(bytes, at);
        if (end > at) visit(TokenKind::kText, bytes.substr(at, end - at));
        at = end;
        if (at == bytes.size()) break;
      }
      switch (take(bytes[at])) {
        case Taken::kControl:
          visit(TokenKind::kControl, bytes.substr(at, 1));
          break;
        case Taken::kInside:
          break;
        case Taken::kEnd:
          visit(TokenKind::kSequence, std::string_view(sequence_));
          sequence_.clear();
          break;
      }
      ++at;
    }
  }

  // A sequence has begun that has not ended.
  bool is_inside() const { return state_ != State::kText; }

 private:
  // A sequence may be longer; what is more is not kept.
  static constexpr size_t kKeptBytes = 256;

  enum class State { kText, kEscape, kParameters, kString, kStringEscape };
  enum class Taken { kControl, kInside, kEnd };

  static size_t end_of_text(std::string_view bytes, size_t at);
  Taken take(char byte);

  State state_ = State::kText;
  std::string sequence_;
};

// Whether a terminal answers it: shown again later, the answer would reach the guest as if it had been typed.
bool asks_terminal(TokenKind kind, std::string_view token);

}  // namespace xenopolis::console
