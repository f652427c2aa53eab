// For tests: the thousand domains of a host under which its faults are tried.
#pragma once

#include <set>
#include <string>

#include "live_host.h"
#include "xen_abi/xen.h"

namespace xenopolis::testing {

// That all of them make hypercalls again within a while.
void expect_beats(LiveHost& host, const std::set<DomId>& domids, const std::string& when);

class Crowd {
 public:
  static constexpr unsigned kDomains = 1000;

  explicit Crowd(LiveHost& host) : host_(host) {}

  // Creates citizens that beat every 100 ms, some at a time. Fails the test when one cannot be created.
  void fill();
  // One more domain of their kind, which the crowd does not count.
  Result<DomId> create(const std::string& name) { return host_.create(name, "citizen", {{"command_line", kBeat}}); }

  // Those that a test expects to be there.
  std::set<DomId>& domids() { return domids_; }
  void expect_all_beat(const std::string& when) const { expect_beats(host_, domids_, when); }
  // They go on, they and nobody else; one more comes up and goes.
  void expect_all_well(const std::string& when);
  // Those that `polis list` calls running.
  std::set<DomId> running();

 private:
  static constexpr const char* kBeat = "beat_ms=100";

  LiveHost& host_;
  std::set<DomId> domids_;
};

}  // namespace xenopolis::testing
