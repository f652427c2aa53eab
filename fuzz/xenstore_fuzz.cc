// A whole xenstore session out of arbitrary bytes: Dom0 and a guest that send messages, well formed or not, and a ring
// page that the guest fills as it likes.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "xenstore/server.h"

namespace xenopolis::xenstore {
namespace {

class Client final : public Transport {
 public:
  Client(Server& server, const Subject& subject)
      : connection(server, server.watches(), server.ready(), *this, subject) {}
  bool take_turn() override { return false; }
  Connection connection;
};

class Link final : public DomainLink {
 public:
  XsResult<AttachedRing> attach(DomId domid, Gfn, Port) override {
    if (domid != kRingDomain) return xs_fail(XsError::kInval);
    return AttachedRing{&page, std::make_unique<Silent>()};
  }
  static constexpr DomId kRingDomain = 7;
  xenstore_domain_interface page{};

 private:
  class Silent final : public RingPort {
    void notify() override {}
  };
};

class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}
  bool empty() const { return rest_.empty(); }
  uint8_t byte() {
    if (rest_.empty()) return 0;
    const auto value = static_cast<uint8_t>(rest_.front());
    rest_.remove_prefix(1);
    return value;
  }
  std::string_view bytes(size_t count) {
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(taken.size());
    return taken;
  }

 private:
  std::string_view rest_;
};

// What does the connection's client hear: it must always be whole messages.
void hear(Connection& connection) {
  MessageReader reader;
  reader.append(connection.output());
  connection.sent(connection.output().size());
  Header header;
  std::string_view payload;
  while (reader.next(header, payload) == MessageReader::Next::kMessage) {
  }
  CHECK(reader.pending_bytes() == 0);
}

void play(Input& input, Link& link, Server& server, std::array<Client*, 2> clients) {
  while (!input.empty()) {
    const uint8_t what = input.byte();
    Connection& connection = clients[what & 1]->connection;
    switch (what >> 1 & 3) {
      case 0: {  // a message
        const uint8_t type = input.byte();
        const uint8_t transaction = input.byte();
        std::string payload(input.bytes(input.byte()));
        std::replace(payload.begin(), payload.end(), '|', '\0');
        std::string message;
        append_message(message, type, 1, transaction, {payload});
        if (connection.wants_input()) connection.receive(message);
        break;
      }
      case 1:  // any bytes
        if (connection.wants_input()) connection.receive(input.bytes(input.byte()));
        break;
      case 2: {  // the ring
        const std::string_view bytes = input.bytes(input.byte());
        const size_t at = size_t{input.byte()} * 16 % sizeof link.page;
        std::memcpy(reinterpret_cast<char*>(&link.page) + at, bytes.data(),
                    std::min(bytes.size(), sizeof link.page - at));
        server.domain_event(Link::kRingDomain);
        break;
      }
      case 3:
        hear(connection);
        break;
    }
    connection.process(kRequestsPerTurn);
    server.ready().run_once();
  }
}

}  // namespace
}  // namespace xenopolis::xenstore

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace xenopolis::xenstore;
  Link link;
  Server server(&link);
  {
    Client dom0(server, Subject{}), guest(server, Subject{5, std::nullopt});
    Input input(data, size);
    std::string setup;
    for (const auto& [type, payload] : std::initializer_list<std::pair<uint32_t, std::string_view>>{
             {XS_MKDIR, {"/d\0", 3}}, {XS_SET_PERMS, {"/d\0b0\0", 6}}, {XS_INTRODUCE, {"7\0001\0001\0", 6}}}) {
      append_message(setup, type, 0, 0, {payload});
    }
    dom0.connection.receive(setup);
    dom0.connection.process(10);
    play(input, link, server, {&dom0, &guest});
    hear(dom0.connection);
    hear(guest.connection);
  }
  (void)server.release(Link::kRingDomain);
  CHECK(server.watches().empty());
  return 0;
}
