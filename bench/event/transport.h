// What is measured: a number of channels, somebody who sends on them, and one thread that serves them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

namespace xenopolis::bench {

// Channels are numbered from 1, as ports are, in the order in which they were made: channel N has the highest number.
using Channel = uint32_t;

// Calls of the consumer's and of the senders' side come from one thread each; those may be two. Whatever fails ends the
// program: a benchmark has no use for half a result.
class Transport {
 public:
  using Handler = std::function<void(Channel)>;

  virtual ~Transport() = default;

  // --- senders

  virtual void send(Channel channel) = 0;
  // The calling thread is the one that waits for answers from now on.
  virtual void expect_answers() = 0;
  // True: there was an answer on this channel. `sleep`: sleeps until there is an answer, or perhaps none.
  virtual bool take_answer(Channel channel, bool sleep) = 0;

  // --- the consumer

  // Waits in epoll_wait() until there is something to serve; -1: forever, 0: one look. False: nothing.
  virtual bool wait(int timeout_ms) = 0;
  // What wait() has found: calls back for at most kBudget channels, once each. Returns how many.
  virtual uint32_t serve(const Handler& handler) = 0;
  virtual void answer(Channel channel) = 0;
  // This channel goes before all others from now on. False: there are no priorities here.
  virtual bool make_urgent(Channel channel) = 0;
  virtual void make_ordinary(Channel) {}
  // Makes the consumer's descriptor readable although there is no event: what the next wait() and serve() cost is what
  // descriptor and epoll cost. Only where all channels have one descriptor in common; false elsewhere.
  virtual bool ring_for_nothing() { return false; }

  // Bytes of memory, and what they are made of.
  virtual nlohmann::json memory() = 0;
};

inline constexpr uint32_t kBudget = 1024;

// One row of what is compared.
struct Subject {
  std::string_view name;
  std::string_view description;
  uint32_t max_channels;
  std::string_view end;  // why there are no more
  std::unique_ptr<Transport> (*make)(const Subject& subject, uint32_t channels);
  int detail = 0;  // what `make` wants to know
};

// Xenopolis' event channels, by Dom0's ABI.
std::vector<Subject> event_channel_subjects();
// What Linux offers instead.
std::vector<Subject> descriptor_subjects();

}  // namespace xenopolis::bench
