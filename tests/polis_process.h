// Runs build/.../bin/polis as a user does and reads what it wrote.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace xenopolis::testing {

// A polis under way; killed when it goes out of scope.
class PolisProcess {
 public:
  // `arguments` as on the command line, without "polis"; `files`: its RLIMIT_NOFILE.
  explicit PolisProcess(const std::vector<std::string>& arguments, std::optional<rlimit> files = std::nullopt);
  ~PolisProcess();

  // Waits for its end. The exit status, or 128 + the signal that killed it.
  int wait();
  void signal(int number) const;
  // Living descendants whose program is called `name` ("polis-cell").
  std::vector<pid_t> descendants(const std::string& name) const;
  // Where its private host has its sockets and logs; empty when there is no polisd.
  std::string run_directory() const;
  // Waits until what it has written so far contains `text`; false when it ended without.
  bool wait_for_output(const std::string& text);

  // Standard output and error together; complete after wait().
  const std::string& output() const { return output_; }

 private:
  bool read_more();

  pid_t pid_ = 0;
  int pipe_ = -1;
  std::string output_;
};

// DIR/results.json.
nlohmann::json read_results(const std::string& directory);

}  // namespace xenopolis::testing
