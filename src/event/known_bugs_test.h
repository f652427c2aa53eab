// What the tests of docs/known-bugs.md share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string_view>

#include "base/fault_point.h"
#include "event/test_world.h"

namespace xenopolis::event {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr int kScale = 1;
#else
inline constexpr int kScale = 5;
#endif

template <class T>
XenErrno error_of(const Result<T, XenErrno>& result) {
  return result ? XenErrno{0} : result.error();
}

// Does something at every fault point that the test's thread passes: a race whose other side comes at exactly that
// moment. What it does passes fault points too, in silence.
class AtFaultPoints {
 public:
  explicit AtFaultPoints(std::function<void(std::string_view)> action) {
    action_ = std::move(action);
    fault_hook.store([](const char* name) {
      if (inside_) return;
      inside_ = true;
      action_(name);
      inside_ = false;
    });
  }
  ~AtFaultPoints() { fault_hook.store(nullptr); }
  AtFaultPoints(const AtFaultPoints&) = delete;
  AtFaultPoints& operator=(const AtFaultPoints&) = delete;

 private:
  static inline std::function<void(std::string_view)> action_;
  static inline bool inside_ = false;
};

// Ports of `domid`, bindable by `domid`, until `last` is the newest.
inline void open_ports_up_to(EventChannels& channels, DomId domid, Port last) {
  while (true) {
    const XenResult<Port> port = channels.alloc_unbound(domid, domid, domid);
    ASSERT_TRUE(port);
    if (*port >= last) return;
  }
}

// How many port numbers the ABI has.
inline uint32_t ports_of(Abi abi) {
  return abi == Abi::kFifo ? kFifoPorts : abi == Abi::kThreeLevel ? kThreeLevelPorts : kTwoLevelPorts;
}

}  // namespace xenopolis::event
