// A process of the bench that does what it is told. All of them live at the same time, and work one at a time: so
// repetitions of what is compared take turns, and a neighbour's noise meets all alike.
#pragma once

#include <sys/types.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "base/fd.h"

namespace xenopolis::bench {

class Worker {
 public:
  // Answers one request.
  using Serve = std::function<nlohmann::json(const nlohmann::json& request)>;

  // Calls `set_up` in the new process, which may take its time, and then, for each request, what that has returned.
  // `name` stands in messages.
  Worker(std::string name, const std::function<Serve()>& set_up);
  Worker(Worker&& other) noexcept
      : name_(std::move(other.name_)),
        begin_ns_(other.begin_ns_),
        socket_(std::move(other.socket_)),
        pid_(std::exchange(other.pid_, 0)) {}
  Worker& operator=(Worker&&) = delete;
  ~Worker();

  // Waits until it is set up, and says how many seconds that took. Nothing when they were more than `patience_s`.
  std::optional<double> wait_until_ready(double patience_s);
  // `what` is asked for, for a message when there is no answer.
  nlohmann::json ask(const nlohmann::json& request, const std::string& what);

 private:
  std::string name_;
  uint64_t begin_ns_;
  Fd socket_;
  pid_t pid_ = 0;
};

}  // namespace xenopolis::bench
