#include "console/client_escapes.h"

namespace xenopolis::console {
namespace {

constexpr char kEscape = 0x1b;
constexpr char kBell = 0x07;
constexpr char kDelete = 0x7f;

bool is_control(char byte) {
  return static_cast<uint8_t>(byte) < 0x20 || byte == kDelete;
}

}  // namespace

size_t EscapeScanner::end_of_text(std::string_view bytes, size_t at) {
  while (at < bytes.size() && !is_control(bytes[at])) ++at;
  return at;
}

EscapeScanner::Taken EscapeScanner::take(char byte) {
  // CAN and SUB end any sequence, ESC begins a new one.
  constexpr char kCancel = 0x18, kSubstitute = 0x1a;
  if (state_ == State::kText) {
    if (byte != kEscape) return Taken::kControl;
    state_ = State::kEscape;
    sequence_.assign(1, byte);
    return Taken::kInside;
  }
  if (sequence_.size() < kKeptBytes) sequence_ += byte;
  if (byte == kCancel || byte == kSubstitute) {
    state_ = State::kText;
    return Taken::kEnd;
  }
  switch (state_) {
    case State::kText:
    case State::kEscape:
      if (byte == '[') {
        state_ = State::kParameters;
      } else if (byte == ']' || byte == 'P' || byte == 'X' || byte == '^' || byte == '_') {
        state_ = State::kString;  // OSC, DCS, SOS, PM, APC
      } else if (byte == kEscape) {
        sequence_.assign(1, byte);
      } else if (byte >= 0x30) {
        state_ = State::kText;
        return Taken::kEnd;
      }
      return Taken::kInside;
    case State::kParameters:
      if (byte == kEscape) {
        sequence_.assign(1, byte);
        state_ = State::kEscape;
      } else if (byte >= 0x40 && byte != kDelete) {
        state_ = State::kText;
        return Taken::kEnd;
      }
      return Taken::kInside;
    case State::kString:
      if (byte == kBell) {
        state_ = State::kText;
        return Taken::kEnd;
      }
      if (byte == kEscape) state_ = State::kStringEscape;
      return Taken::kInside;
    case State::kStringEscape:
      if (byte == '\\') {
        state_ = State::kText;
        return Taken::kEnd;
      }
      // No terminator: another sequence begins.
      state_ = State::kEscape;
      sequence_.assign(1, kEscape);
      return take(byte);
  }
  return Taken::kInside;
}

// xterm's ctlseqs: ENQ, DECID, DA, DSR, DECREQTPARM, window reports, DECRQM, XTVERSION, kitty's keyboard query; strings
// that ask for colours, for settings, for the clipboard.
bool asks_terminal(TokenKind kind, std::string_view token) {
  constexpr char kEnquiry = 0x05;
  if (kind == TokenKind::kControl) return token.front() == kEnquiry;
  if (kind != TokenKind::kSequence || token.size() < 2) return false;
  const char final = token.back();
  switch (token[1]) {
    case 'Z':
      return true;
    case 'P':
    case '_':
      return true;
    case ']':
      return token.find('?') != std::string_view::npos;
    case '[':
      if (final == 'q') return token.find('>') != std::string_view::npos;
      if (final == 'p') return token.find('$') != std::string_view::npos;
      if (final == 'u') return token.find('?') != std::string_view::npos;
      return final == 'c' || final == 'n' || final == 'x' || final == 't';
    default:
      return false;
  }
}

}  // namespace xenopolis::console
