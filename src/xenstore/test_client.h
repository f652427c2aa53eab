// For tests: a client without a socket, and a small language for what it says and hears. Nuls are written '|'.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <string>

#include "xenstore/server.h"

namespace xenopolis::xenstore {

inline std::string bars_to_nuls(std::string text) {
  std::replace(text.begin(), text.end(), '|', '\0');
  return text;
}
inline std::string nuls_to_bars(std::string text) {
  std::replace(text.begin(), text.end(), '\0', '|');
  return text;
}

inline std::string message_bytes(uint32_t type, const std::string& payload, uint32_t transaction = 0,
                                 uint32_t request = 7) {
  std::string bytes;
  append_message(bytes, type, request, transaction, {payload});
  return bytes;
}

class TestClient final : public Transport {
 public:
  explicit TestClient(Server& server, Subject subject = {})
      : server_(server), connection_(server, server.watches(), server.ready(), *this, subject) {}

  // The reply's payload, or the error's name. Events that arrive meanwhile are kept. If the request has to wait for
  // others, their time passes.
  std::string ask(uint32_t type, const std::string& payload, uint32_t transaction = 0) {
    connection_.receive(message_bytes(type, bars_to_nuls(payload), transaction));
    connection_.process(1);
    while (connection_.is_parked()) {
      server_.turns().advance_to(server_.turns().next_deadline_ns());
      connection_.process(1);
    }
    collect();
    EXPECT_EQ(replies_.size(), 1u);
    if (replies_.empty()) return "no reply";
    std::string reply = std::move(replies_.front());
    replies_.pop_front();
    return reply;
  }
  // Every event since the last call, "path token" each, in order.
  std::vector<std::string> events() {
    collect();
    return std::exchange(events_, {});
  }

  uint32_t begin() {
    const std::string reply = ask(XS_TRANSACTION_START, "|");
    return static_cast<uint32_t>(std::stoul(reply));
  }
  std::string commit(uint32_t transaction) { return ask(XS_TRANSACTION_END, "T|", transaction); }

  // For requests that may have to wait: ask without hearing, and the next reply if there is one.
  void say(uint32_t type, const std::string& payload, uint32_t transaction = 0) {
    connection_.receive(message_bytes(type, bars_to_nuls(payload), transaction));
    connection_.process(1);
  }
  std::optional<std::string> hear() {
    collect();
    if (replies_.empty()) return std::nullopt;
    std::string reply = std::move(replies_.front());
    replies_.pop_front();
    return reply;
  }

  bool take_turn() override {
    connection_.process(kRequestsPerTurn);
    return connection_.has_work();
  }
  Connection& connection() { return connection_; }

 private:
  void collect() {
    MessageReader reader;
    reader.append(connection_.output());
    connection_.sent(connection_.output().size());
    Header header;
    std::string_view payload;
    while (reader.next(header, payload) == MessageReader::Next::kMessage) {
      std::string text = nuls_to_bars(std::string(payload));
      if (header.type == XS_WATCH_EVENT) {
        std::replace(text.begin(), text.end(), '|', ' ');
        text.pop_back();
        events_.push_back(std::move(text));
      } else {
        if (header.type == XS_ERROR) text.pop_back();
        replies_.push_back(std::move(text));
      }
    }
    EXPECT_EQ(reader.pending_bytes(), 0u);
  }

  std::deque<std::string> replies_;
  std::vector<std::string> events_;
  Server& server_;
  Connection connection_;
};

// Rings in ordinary memory.
class TestLink final : public DomainLink {
 public:
  struct Guest {
    xenstore_domain_interface page{};
    unsigned notifications = 0;
    unsigned open_ports = 0;
  };

  XsResult<AttachedRing> attach(DomId domid, Gfn, Port port) override {
    if (port == kRefusedPort) return xs_fail(XsError::kInval);
    Guest& guest = guests[domid];
    EXPECT_EQ(guest.open_ports, 0u);  // as a channel has two ends
    return AttachedRing{&guest.page, std::make_unique<TestPort>(guest)};
  }

  bool exists(DomId domid) const override { return domid != kAbsent; }

  static constexpr Port kRefusedPort = 666;
  static constexpr DomId kAbsent = 999;  // no such domain
  std::map<DomId, Guest> guests;

 private:
  class TestPort final : public RingPort {
   public:
    explicit TestPort(Guest& guest) : guest_(guest) { ++guest_.open_ports; }
    ~TestPort() override { --guest_.open_ports; }
    void notify() override { ++guest_.notifications; }

   private:
    Guest& guest_;
  };
};

}  // namespace xenopolis::xenstore
