#include "xenstore/text.h"

#include <cstdlib>
#include <new>

namespace xenopolis::xenstore {

void Text::set(std::string_view text) {
  size_ = static_cast<uint32_t>(text.size());
  if (!is_shared()) {
    text.copy(stored_.bytes, kWithin);
    return;
  }
  auto* block = static_cast<Block*>(::operator new(sizeof(Block) + text.size()));
  block->references = 1;
  text.copy(block->bytes, text.size());
  std::memcpy(stored_.bytes + kWithin - sizeof(block), &block, sizeof(block));
}

void Text::clear() {
  if (is_shared() && --block()->references == 0) ::operator delete(block());
  size_ = 0;
}

}  // namespace xenopolis::xenstore
