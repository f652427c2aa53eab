// For tests: kicks the thread that made it again and again.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "machine/doorbell.h"

namespace xenopolis::vcpu::kvm {

class Kicker {
 public:
  explicit Kicker(std::chrono::microseconds period)
      : thread_([this, target = pthread_self(), period] {
          while (!stop_) {
            pthread_kill(target, machine::Doorbells::kick_signal());
            std::this_thread::sleep_for(period);
          }
        }) {}
  ~Kicker() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace xenopolis::vcpu::kvm
