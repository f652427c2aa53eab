#include "machine/robust_lock.h"

namespace xenopolis::machine {

void RobustLock::init() {
  pthread_mutexattr_t attributes;
  CHECK(pthread_mutexattr_init(&attributes) == 0);
  CHECK(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
  CHECK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0);
  CHECK(pthread_mutex_init(&mutex_, &attributes) == 0);
  CHECK(pthread_mutexattr_destroy(&attributes) == 0);
}

}  // namespace xenopolis::machine
