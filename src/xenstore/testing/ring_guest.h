// For tests: a guest at its end of a ring, honest or not.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {

// Lets everyone have turns until nobody has anything to do. False: that did not happen within `rounds`.
inline bool run_until_quiet(Server& server, unsigned rounds = 10'000) {
  for (; !server.ready().empty(); --rounds) {
    if (rounds == 0) return false;
    server.ready().run_once();
  }
  return true;
}

class RingGuest {
 public:
  struct Heard {
    Header header;
    std::string payload;
  };

  // Introduces the domain, with a new page.
  RingGuest(Server& server, TestLink& link, TestClient& dom0, DomId domid)
      : server_(server), domid_(domid), page_(link.guests[domid].page) {
    page_ = {};
    EXPECT_EQ(dom0.ask(XS_INTRODUCE, std::to_string(domid) + "|1|2|"), "OK|");
    run_until_quiet(server_);
  }

  // Of a domain that is introduced already.
  RingGuest(Server& server, TestLink& link, DomId domid)
      : server_(server), domid_(domid), page_(link.guests[domid].page) {}

  xenstore_domain_interface& page() { return page_; }
  DomId domid() const { return domid_; }

  // As much of `bytes` as fits; answers how much.
  size_t put(std::string_view bytes) {
    const size_t room = XENSTORE_RING_SIZE - (page_.req_prod - page_.req_cons);
    const size_t count = std::min(bytes.size(), room);
    for (size_t i = 0; i < count; ++i) page_.req[MASK_XENSTORE_IDX(page_.req_prod++)] = bytes[i];
    return count;
  }
  void notify() { server_.domain_event(domid_); }

  // Takes what the daemon wrote. What is incomplete waits for the rest.
  std::vector<Heard> take() {
    std::string bytes;
    while (page_.rsp_cons != page_.rsp_prod) bytes.push_back(page_.rsp[MASK_XENSTORE_IDX(page_.rsp_cons++)]);
    reader_.append(bytes);
    std::vector<Heard> heard;
    Header header;
    std::string_view payload;
    while (reader_.next(header, payload) == MessageReader::Next::kMessage) {
      heard.push_back({header, std::string(payload)});
    }
    return heard;
  }

  // The reply's payload, or the error's name, after as many rounds as it takes. Events are kept for events(). If the
  // request has to wait for others, their time passes.
  std::string ask(uint32_t type, const std::string& payload, uint32_t transaction = 0) {
    std::string request = message_bytes(type, bars_to_nuls(payload), transaction);
    for (unsigned step = 0; step < 1'000; ++step) {
      request.erase(0, put(request));
      notify();
      run_until_quiet(server_);
      std::optional<std::string> reply;
      for (const Heard& heard : take()) {
        std::string text = nuls_to_bars(heard.payload);
        if (heard.header.type == XS_WATCH_EVENT) {
          std::replace(text.begin(), text.end(), '|', ' ');
          text.pop_back();
          events_.push_back(std::move(text));
        } else {
          if (heard.header.type == XS_ERROR) text.pop_back();
          reply = std::move(text);
        }
      }
      if (reply) return *reply;
      if (const uint64_t deadline = server_.turns().next_deadline_ns(); deadline != 0) {
        server_.turns().advance_to(deadline);
      }
    }
    return "no reply";
  }
  std::vector<std::string> events() {
    ask(XS_GET_DOMAIN_PATH, "0|");
    return std::exchange(events_, {});
  }
  uint32_t begin() { return static_cast<uint32_t>(std::stoul(ask(XS_TRANSACTION_START, "|"))); }
  std::string commit(uint32_t transaction) { return ask(XS_TRANSACTION_END, "T|", transaction); }

 private:
  Server& server_;
  DomId domid_;
  xenstore_domain_interface& page_;
  MessageReader reader_;
  std::vector<std::string> events_;
};

// A daemon, Dom0's client, and guests with a home each as toolstacks make it: the guest reads it and owns its data/.
class GuestsTest : public testing::Test {
 protected:
  static std::string home_of(DomId domid) { return domain_path(domid); }
  void make_home(DomId domid) {
    const std::string home = home_of(domid);
    const std::string id = std::to_string(domid);
    ASSERT_EQ(dom0.ask(XS_MKDIR, home + "|"), "OK|");
    ASSERT_EQ(dom0.ask(XS_SET_PERMS, home + "|n0|r" + id + "|"), "OK|");
    ASSERT_EQ(dom0.ask(XS_MKDIR, home + "/data|"), "OK|");
    ASSERT_EQ(dom0.ask(XS_SET_PERMS, home + "/data|n" + id + "|"), "OK|");
  }
  RingGuest guest(DomId domid) {
    make_home(domid);
    return RingGuest(server, link, dom0, domid);
  }
  // How many nodes the guest can still make below its data/; they are gone again afterwards.
  unsigned nodes_left(RingGuest& owner) {
    unsigned made = 0;
    for (unsigned i = 0; i < 5000; ++i) {
      const std::string name = i % 100 == 0 ? "" : "/" + std::to_string(i);
      if (owner.ask(XS_MKDIR, "data/left" + std::to_string(i / 100) + name + "|") != "OK|") break;
      ++made;
    }
    for (unsigned i = 0; i < 50; ++i) owner.ask(XS_RM, "data/left" + std::to_string(i) + "|");
    return made;
  }
  void release(DomId domid) { ASSERT_EQ(dom0.ask(XS_RELEASE, std::to_string(domid) + "|"), "OK|"); }

  TestLink link;
  Server server{&link};
  TestClient dom0{server};
};

}  // namespace xenopolis::xenstore
