// A string for those of which there are very many: 16 bytes, short ones within, long ones shared by their copies.
#pragma once

#include <compare>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>

namespace xenopolis::xenstore {

// At most 4 GiB. Copies share without atomics: of one thread. A moved-from text is empty.
class Text {
 public:
  static constexpr size_t kWithin = 12;

  Text() = default;
  Text(std::string_view text) { set(text); }
  Text(const Text& other) : size_(other.size_), stored_(other.stored_) {
    if (is_shared()) ++block()->references;
  }
  Text(Text&& other) noexcept : size_(std::exchange(other.size_, 0)), stored_(other.stored_) {}
  Text& operator=(Text other) noexcept {
    std::swap(size_, other.size_);
    std::swap(stored_, other.stored_);
    return *this;
  }
  Text& operator=(std::string_view text) { return *this = Text(text); }
  ~Text() { clear(); }

  operator std::string_view() const { return {data(), size_}; }
  std::string_view view() const { return *this; }
  const char* data() const { return is_shared() ? block()->bytes : stored_.bytes; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  struct Block {
    uint32_t references;
    char bytes[];
  };
  struct Stored {
    char bytes[kWithin];  // or, of long ones, the last 8 are a Block*
  };

  bool is_shared() const { return size_ > kWithin; }
  Block* block() const {
    Block* block;
    std::memcpy(&block, stored_.bytes + kWithin - sizeof(block), sizeof(block));
    return block;
  }
  void set(std::string_view text);
  void clear();

  uint32_t size_ = 0;
  Stored stored_;
};
static_assert(sizeof(Text) == 16);

inline bool operator==(const Text& one, const Text& other) {
  return one.view() == other.view();
}
inline bool operator==(const Text& one, std::string_view other) {
  return one.view() == other;
}
inline auto operator<=>(const Text& one, const Text& other) {
  return one.view() <=> other.view();
}
inline auto operator<=>(const Text& one, std::string_view other) {
  return one.view() <=> other;
}

}  // namespace xenopolis::xenstore
