// Words shared with the hypervisor or a backend.
#pragma once

#include <cstdint>

namespace xenopolis::guest {

template <class T>
inline T load(const volatile T& word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}

template <class T>
inline void store(volatile T& word, T value) {
  __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

template <class T>
inline T exchange(volatile T& word, T value) {
  return __atomic_exchange_n(&word, value, __ATOMIC_SEQ_CST);
}

template <class T>
inline T fetch_or(volatile T& word, T bits) {
  return __atomic_fetch_or(&word, bits, __ATOMIC_SEQ_CST);
}

template <class T>
inline T fetch_and(volatile T& word, T bits) {
  return __atomic_fetch_and(&word, bits, __ATOMIC_SEQ_CST);
}

template <class T>
inline bool compare_exchange(volatile T& word, T& expected, T desired) {
  return __atomic_compare_exchange_n(&word, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

inline void full_barrier() {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

}  // namespace xenopolis::guest
