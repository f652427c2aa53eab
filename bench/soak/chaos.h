// What happens to a host in a soak: everything that one can ask of it, at random, and the death of its processes.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>

#include "soak_host.h"

namespace xenopolis::bench {

struct ChaosOptions {
  std::string guests;      // directory
  unsigned domains = 200;  // about so many are there
  unsigned window = 32;    // requests under way
  uint64_t seed = 1;
};

class Chaos {
 public:
  Chaos(SoakHost& host, const ChaosOptions& options) : host_(host), options_(options), random_(options.seed) {}

  // For so long. `kills_daemons`: otherwise cells only.
  Status run(double seconds, bool kills_daemons);
  // Destroys all that there is.
  Status clear();

  // How often each was done: by what was asked for, "kill PROGRAM".
  const std::map<std::string, uint64_t>& done() const { return done_; }
  // Refused, with reasons that are none: by text.
  const std::map<std::string, uint64_t>& surprises() const { return surprises_; }

 private:
  void act();
  void ask(const std::string& what, nlohmann::json request);
  void create();
  std::string random_name();
  Status kill_something(bool kills_daemons);
  Status wait_for_answers(unsigned at_most);
  Status refresh();
  DomId random_domain();
  uint64_t below(uint64_t limit) { return std::uniform_int_distribution<uint64_t>(0, limit - 1)(random_); }

  SoakHost& host_;
  const ChaosOptions options_;
  std::mt19937_64 random_;
  std::vector<DomId> domids_;  // some of them are gone already
  unsigned under_way_ = 0;
  uint64_t generation_ = 0;  // of the connection: what was asked of a polisd that is dead is not waited for
  uint64_t next_name_ = 0;
  size_t next_kill_ = 0;
  std::map<std::string, uint64_t> done_, surprises_;
};

}  // namespace xenopolis::bench
