// Changes of a guest that others have yet to hear of: of a commit of a thousand changes where thousands watch, or of
// its end. They are told in turns, as the guest's requests are served, and the guest is held until they are through.
#pragma once

#include <deque>
#include <functional>
#include <iterator>
#include <vector>

#include "xenstore/ready_list.h"
#include "xenstore/tree.h"
#include "xenstore/work.h"

namespace xenopolis::xenstore {

class Backlog final : public Transport {
 public:
  // `tell` tells of one change; `done` may destroy the backlog.
  Backlog(std::function<void(const Change&)> tell, std::function<void()> done)
      : tell_(std::move(tell)), done_(std::move(done)) {}

  void append(std::vector<Change>::iterator begin, std::vector<Change>::iterator end) {
    changes_.insert(changes_.end(), std::make_move_iterator(begin), std::make_move_iterator(end));
  }

  // One change at least.
  bool take_turn() override {
    const uint64_t end = work_done + kWorkPerTurn;
    do {
      tell_(changes_.front());
      changes_.pop_front();
    } while (!changes_.empty() && work_done < end);
    if (!changes_.empty()) return true;
    const auto done = std::move(done_);
    done();
    return false;
  }

 private:
  std::function<void(const Change&)> tell_;
  std::function<void()> done_;
  std::deque<Change> changes_;
};

}  // namespace xenopolis::xenstore
