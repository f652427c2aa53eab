// Whether somebody who has been asked answers. Counted in looks, not in time: a machine that was suspended, or had no
// time for anybody, has looked as little as it has answered.
#pragma once

#include <cstdint>

namespace xenopolis::toolstack {

class Silence {
 public:
  // For how many looks in a row there was a question, and no answer came. `answers`: how many there were ever.
  uint32_t look(bool is_asked, uint64_t answers) {
    looks_ = is_asked && answers == answers_ ? looks_ + 1 : 0;
    answers_ = answers;
    return looks_;
  }

 private:
  uint64_t answers_ = ~uint64_t{0};
  uint32_t looks_ = 0;
};

// Questions to somebody that are all answered.
struct Dialogue {
  uint64_t questions = 0;
  uint64_t answers = 0;

  bool is_asked() const { return questions > answers; }
};

}  // namespace xenopolis::toolstack
