#include "xenstore/testing/session.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>

#include "base/testing/input.h"
#include "xenstore/server.h"
#include "xenstore/testing/model.h"

namespace xenopolis::xenstore::model {
namespace {

using xenopolis::testing::Input;

constexpr unsigned kDom0Clients = 2;
constexpr unsigned kGuests = 3;  // client kDom0Clients + i is domain i + 1
constexpr unsigned kClients = kDom0Clients + kGuests;
constexpr unsigned kNodes = 15;
constexpr unsigned kTransactions = 3;
constexpr size_t kTooLarge = 2500;

DomId domid_of(unsigned client) {
  return client < kDom0Clients ? kDom0 : static_cast<DomId>(client - kDom0Clients + 1);
}

constexpr std::array kPaths = {"/",
                               "/d",
                               "/d/a",
                               "/d/a/b",
                               "/d/a/b/c",
                               "/d/b",
                               "/d/c/d/e/f",
                               "/local/domain/1",
                               "/local/domain/1/data",
                               "/local/domain/1/data/a",
                               "/local/domain/2",
                               "/local/domain/2/data/a/b",
                               "/local/domain",
                               "data",
                               "data/a",
                               "data/a/b/c",
                               "x",
                               "/tool/xenstored",
                               "@introduceDomain",
                               "@releaseDomain",
                               "/d/",
                               "/d//a",
                               "",
                               "/d/a b",
                               "/da"};
constexpr std::array kPerms = {"n0|",    "r0|",    "b0|",    "n1|",          "r1|", "b1|r2|", "n1|b2|",   "w2|b1|r3|",
                               "n2|r1|", "n3|b1|", "b3|n2|", "n0|b1|r2|w3|", "x1|", "n|",     "n0|b1|b2|"};

// A client's end of whatever it talks through.
class Peer {
 public:
  virtual ~Peer() = default;
  virtual void send(std::string_view bytes, Server& server) = 0;
  virtual std::string take(Server& server) = 0;
};

class SocketPeer final : public Peer, private Transport {
 public:
  explicit SocketPeer(Server& server) : connection_(server, server.watches(), server.ready(), *this, Subject{}) {}
  void send(std::string_view bytes, Server&) override {
    connection_.receive(bytes);
    connection_.process(1);
  }
  std::string take(Server&) override {
    std::string all;
    while (!connection_.output().empty()) {
      const std::string some(connection_.output());
      connection_.sent(some.size());
      all += some;
    }
    return all;
  }

 private:
  bool take_turn() override {
    connection_.process(1);
    return connection_.has_work();
  }
  Connection connection_;
};

class RingPeer final : public Peer {
 public:
  RingPeer(xenstore_domain_interface& page, DomId domid) : page_(page), domid_(domid) {}
  void send(std::string_view bytes, Server& server) override {
    while (!bytes.empty()) {
      const size_t room = XENSTORE_RING_SIZE - (page_.req_prod - page_.req_cons);
      const std::string_view part = bytes.substr(0, room);
      for (const char byte : part) page_.req[MASK_XENSTORE_IDX(page_.req_prod++)] = byte;
      bytes.remove_prefix(part.size());
      server.domain_event(domid_);
      run(server);
    }
  }
  std::string take(Server& server) override {
    std::string all;
    while (page_.rsp_cons != page_.rsp_prod) {
      while (page_.rsp_cons != page_.rsp_prod) all.push_back(page_.rsp[MASK_XENSTORE_IDX(page_.rsp_cons++)]);
      server.domain_event(domid_);
      run(server);
    }
    return all;
  }

 private:
  static void run(Server& server) {
    for (unsigned round = 0; round < 10'000 && !server.ready().empty(); ++round) server.ready().run_once();
  }
  xenstore_domain_interface& page_;
  DomId domid_;
};

class Pages final : public DomainLink {
 public:
  XsResult<AttachedRing> attach(DomId domid, Gfn, Port) override {
    pages[domid] = {};
    return AttachedRing{&pages[domid], std::make_unique<Silent>()};
  }
  std::map<DomId, xenstore_domain_interface> pages;

 private:
  class Silent final : public RingPort {
    void notify() override {}
  };
};

Quota small_quota() {
  Quota quota;
  quota.nodes = kNodes;
  quota.transactions = kTransactions;
  return quota;
}

class Session {
 public:
  Session(Input input, SessionCounts& counts) : input_(input), counts_(counts) {
    for (unsigned client = 0; client < kDom0Clients; ++client) {
      model_.add_client(client, kDom0);
      peers_[client] = std::make_unique<SocketPeer>(server_);
    }
  }

  std::string play() {
    for (const auto& [type, payload] :
         std::initializer_list<std::pair<uint32_t, const char*>>{{XS_MKDIR, "/d|"},
                                                                 {XS_SET_PERMS, "/d|b0|"},
                                                                 {XS_MKDIR, "/local/domain/1/data|"},
                                                                 {XS_SET_PERMS, "/local/domain/1/data|n1|r2|"},
                                                                 {XS_MKDIR, "/local/domain/2/data|"},
                                                                 {XS_SET_PERMS, "/local/domain/2/data|n2|"}}) {
      ask({0, type, payload, 0});
    }
    introduce(0, 1);
    introduce(0, 2);
    while (!input_.empty() && fault_.empty()) step();
    if (fault_.empty()) compare_trees();
    return fault_;
  }

 private:
  // What each client heard of one request.
  struct Heard {
    std::vector<std::string> replies;
    std::array<std::vector<std::string>, kClients> events;
  };

  void step() {
    const unsigned client = input_.below(kClients);
    if (!model_.has_client(client)) {
      if (input_.below(4) == 0) introduce(0, domid_of(client));
      return;
    }
    const uint32_t transaction = pick_transaction(client);
    const std::string path = std::string(kPaths[input_.below(kPaths.size())]) + "|";
    switch (input_.below(24)) {
      case 0:
      case 1:
        return ask({client, XS_READ, path, transaction});
      case 2:
      case 3:
        return ask({client, XS_DIRECTORY, path, transaction});
      case 4:
        return ask({client, XS_GET_PERMS, path, transaction});
      case 5:
      case 6:
      case 7:
      case 8:
        return ask({client, XS_WRITE, path + std::string(1, static_cast<char>('0' + input_.below(4))), transaction});
      case 9:
        return ask({client, XS_WRITE, path + std::string(input_.below(2) == 0 ? kTooLarge : 100, 'v'), transaction});
      case 10:
        return ask({client, XS_MKDIR, path, transaction});
      case 11:
      case 12:
        return ask({client, XS_RM, path, transaction});
      case 13:
      case 14:
        return ask({client, XS_SET_PERMS, path + kPerms[input_.below(kPerms.size())], transaction});
      case 15:
      case 16:
        return ask({client, XS_WATCH, path + "t" + std::to_string(input_.below(2)) + "|", 0});
      case 17:
        return ask({client, XS_UNWATCH, path + "t" + std::to_string(input_.below(2)) + "|", 0});
      case 18:
      case 19:
        return start(client, transaction);
      case 20:
      case 21:
        return end(client, transaction, input_.below(4) != 0);
      case 22:
        return ask({client, XS_SET_TARGET,
                    std::to_string(1 + input_.below(kGuests)) + "|" + std::to_string(1 + input_.below(kGuests)) + "|",
                    0});
      default:
        break;
    }
    switch (input_.below(8)) {
      case 0:
        return ask({client, XS_RESET_WATCHES, "|", 0});
      case 1:
        return ask({client, XS_IS_DOMAIN_INTRODUCED, std::to_string(input_.below(kGuests + 1)) + "|", 0});
      case 2:
      case 3:
        return release(client, static_cast<DomId>(1 + input_.below(kGuests)));
      default:
        return ask({client, XS_DIRECTORY, path, transaction});
    }
  }

  uint32_t pick_transaction(unsigned client) {
    auto& open = open_[client];
    std::erase_if(open, [&](uint32_t id) { return !model_.has_transaction(client, id); });
    const unsigned which = input_.below(8);
    if (which < 4) return 0;
    if (which == 7) return 4'000'000'000;
    return open.empty() ? 0 : open[which % open.size()];
  }

  void ask(const Model::Request& request) {
    const Heard heard = exchange(request);
    check(request, heard, model_.ask(request));
  }

  void start(unsigned client, uint32_t transaction) {
    const Model::Request request{client, XS_TRANSACTION_START, "|", transaction};
    const Heard heard = exchange(request);
    const ModelReply expected = model_.start_transaction(client, transaction);
    check(request, heard, expected);
    if (!expected.is_any || !fault_.empty()) return;
    const std::string& text = heard.replies[0];
    if (text.empty() || text.find_first_not_of("0123456789") != text.size() - 1) {
      fault_ = "a transaction's number is " + text;
      return;
    }
    const auto id = static_cast<uint32_t>(std::stoul(text));
    if (id == 0 || model_.has_transaction(client, id)) fault_ = "a transaction's number is in use: " + text;
    model_.started(client, id);
    open_[client].push_back(id);
  }

  void end(unsigned client, uint32_t transaction, bool commits) {
    const Model::Request request{client, XS_TRANSACTION_END, commits ? "T|" : "F|", transaction};
    const Heard heard = exchange(request);
    const bool is_done = !heard.replies.empty() && heard.replies[0] == "OK|";
    const bool was_open = model_.has_transaction(client, transaction);
    std::string fault;
    check(request, heard, model_.end_transaction(client, transaction, commits, is_done, fault));
    if (fault_.empty()) fault_ = fault;
    if (was_open && commits) ++(is_done ? counts_.commits : counts_.conflicts);
  }

  void introduce(unsigned client, DomId domid) {
    const unsigned guest = kDom0Clients + domid - 1;
    const Model::Request request{client, XS_INTRODUCE, std::to_string(domid) + "|1|1|", 0};
    const Heard heard = exchange(request);
    check(request, heard, model_.introduce(client, domid, guest));
    peers_[guest] = std::make_unique<RingPeer>(pages_.pages[domid], domid);
    open_[guest].clear();
  }

  void release(unsigned client, DomId domid) {
    if (domid_of(client) == kDom0) {
      for (const auto& [other, transaction] : model_.transactions_that_name(domid)) end(other, transaction, false);
    }
    const bool was_introduced = model_.is_introduced(domid);
    const Model::Request request{client, XS_RELEASE, std::to_string(domid) + "|", 0};
    const bool is_done = was_introduced && domid_of(client) == kDom0;
    if (is_done) peers_[kDom0Clients + domid - 1].reset();
    const Heard heard = exchange(request);
    check(request, heard, model_.release(client, domid));
    if (is_done) ++counts_.releases;
  }

  Heard exchange(const Model::Request& request) {
    std::string payload = request.payload;
    std::replace(payload.begin(), payload.end(), '|', '\0');
    std::string bytes;
    append_message(bytes, request.type, 77, request.transaction, {payload});
    peers_[request.client]->send(bytes, server_);
    ++counts_.requests;
    Heard heard;
    for (;;) {
      for (unsigned round = 0; round < 10'000 && !server_.ready().empty(); ++round) server_.ready().run_once();
      for (unsigned client = 0; client < kClients; ++client) {
        if (peers_[client]) hear(client, request, heard);
      }
      // A request that has to wait for somebody's turn waits until that is over.
      const uint64_t deadline = server_.turns().next_deadline_ns();
      if (!heard.replies.empty() || deadline == 0) return heard;
      ++counts_.waits;
      server_.turns().advance_to(deadline);
    }
  }

  void hear(unsigned client, const Model::Request& request, Heard& heard) {
    MessageReader reader;
    reader.append(peers_[client]->take(server_));
    Header header;
    std::string_view payload;
    while (reader.next(header, payload) == MessageReader::Next::kMessage) {
      std::string text(payload);
      std::replace(text.begin(), text.end(), '\0', '|');
      if (header.type == XS_WATCH_EVENT) {
        heard.events[client].push_back(std::move(text));
        ++counts_.events;
        continue;
      }
      if (client != request.client || header.req_id != 77 || header.tx_id != request.transaction ||
          (header.type != XS_ERROR && header.type != request.type)) {
        fault_ = "a reply that nobody asked for";
      }
      if (header.type == XS_ERROR) {
        text.pop_back();
        ++counts_.errors;
      }
      heard.replies.push_back(std::move(text));
    }
    if (reader.pending_bytes() != 0) fault_ = "half a message";
  }

  void check(const Model::Request& request, const Heard& heard, const ModelReply& expected) {
    if (!fault_.empty()) return;
    const std::string asked = "request " + std::to_string(counts_.requests) + ": client " +
                              std::to_string(request.client) + " type " + std::to_string(request.type) + " \"" +
                              request.payload.substr(0, 100) + "\" in " + std::to_string(request.transaction) + ": ";
    if (heard.replies.size() != 1) {
      fault_ = asked + std::to_string(heard.replies.size()) + " replies";
      return;
    }
    if (!expected.is_any && heard.replies[0] != expected.text) {
      fault_ = asked + "answered \"" + heard.replies[0] + "\", expected \"" + expected.text + "\"";
      return;
    }
    struct Count {
      int heard = 0;
      int must = 0;
      int may = 0;
    };
    std::map<std::pair<unsigned, std::string>, Count> events;
    for (unsigned client = 0; client < kClients; ++client) {
      for (const std::string& event : heard.events[client]) ++events[{client, event}].heard;
    }
    for (const ModelEvent& event : expected.events) {
      Count& count = events[{event.client, event.text}];
      ++count.may;
      if (event.must) ++count.must;
    }
    for (const auto& [event, count] : events) {
      if (count.heard >= count.must && count.heard <= count.may) continue;
      fault_ = asked + "client " + std::to_string(event.first) + " heard \"" + event.second + "\" " +
               std::to_string(count.heard) + " times, must " + std::to_string(count.must) + ", may " +
               std::to_string(count.may);
      return;
    }
  }

  void compare_trees() {
    const ModelTree tree = model_.tree();  // as it is before we ask
    for (const auto& [path, node] : tree) {
      for (const uint32_t type : {XS_READ, XS_GET_PERMS, XS_DIRECTORY}) ask({0, type, path + "|", 0});
    }
  }

  Input input_;
  SessionCounts& counts_;
  Pages pages_;
  Server server_{&pages_, small_quota()};
  Model model_{ModelQuota{kNodes, kTransactions, kTooLarge}};
  std::array<std::unique_ptr<Peer>, kClients> peers_;
  std::array<std::vector<uint32_t>, kClients> open_;
  std::string fault_;
};

}  // namespace

std::string play_session(std::span<const uint8_t> bytes, SessionCounts& counts) {
  return Session(Input(bytes), counts).play();
}

}  // namespace xenopolis::xenstore::model
