// A lock in shared memory that survives the death of its holder.
#pragma once

#include <pthread.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "base/check.h"

namespace xenopolis::machine {

// A robust, process-shared pthread mutex (pthread_mutexattr_setrobust(3)). When a process dies inside, the next one to
// lock is told so and repairs what the lock guards before anybody else sees it. Must be init()ed once in memory that is
// zero or no longer used.
class RobustLock {
 public:
  enum class Taken { kClean, kHolderDied };

  void init();

  // Blocks for as long as the holder's critical section lasts; those are bounded (docs/invariants.md).
  Taken lock() {
    const int error = pthread_mutex_lock(&mutex_);
    CHECK(error == 0 || error == EOWNERDEAD);
    return error == 0 ? Taken::kClean : Taken::kHolderDied;
  }
  // nullopt: somebody has it now.
  std::optional<Taken> try_lock() {
    const int error = pthread_mutex_trylock(&mutex_);
    if (error == EBUSY) return std::nullopt;
    CHECK(error == 0 || error == EOWNERDEAD);
    return error == 0 ? Taken::kClean : Taken::kHolderDied;
  }
  void unlock() { CHECK(pthread_mutex_unlock(&mutex_) == 0); }

  // After the repair that kHolderDied asked for.
  void mark_repaired() { CHECK(pthread_mutex_consistent(&mutex_) == 0); }

 private:
  pthread_mutex_t mutex_;
};

// RobustGuard guard(lock, [&] { repair(); });
class RobustGuard {
 public:
  template <class Repair>
  RobustGuard(RobustLock& lock, Repair&& repair) : lock_(&lock) {
    if (lock.lock() == RobustLock::Taken::kHolderDied) {
      std::forward<Repair>(repair)();
      lock.mark_repaired();
    }
  }
  RobustGuard(const RobustGuard&) = delete;
  RobustGuard& operator=(const RobustGuard&) = delete;
  ~RobustGuard() { lock_->unlock(); }

 private:
  RobustLock* lock_;
};

}  // namespace xenopolis::machine
