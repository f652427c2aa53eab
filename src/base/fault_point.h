// Places where a process may be killed with consequences: tests stop there, production passes by.
#pragma once

#include <atomic>

namespace xenopolis {

// Set by tests only; called with the name of every fault point that is passed.
inline std::atomic<void (*)(const char* name)> fault_hook{nullptr};

inline void fault_point(const char* name) {
  if (auto* hook = fault_hook.load(std::memory_order_relaxed); hook != nullptr) [[unlikely]]
    hook(name);
}

}  // namespace xenopolis
