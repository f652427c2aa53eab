#include "xenstore/socket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/log.h"
#include "base/unix_socket.h"
#include "xenstore/work.h"

namespace xenopolis::xenstore {
namespace {

using std::string_view_literals::operator""sv;

// In what save() writes, beside types of requests.
constexpr uint16_t kSocketRecord = 0x9000;
constexpr uint16_t kInputRecord = 0x9001;
constexpr uint16_t kOutputRecord = 0x9002;

// A descriptor that came through exec(2), and shall not go through the next one by itself.
Fd inherited(int fd) {
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return Fd(fd);
}

}  // namespace

class SocketListener::Client final : public Transport {
 public:
  Client(SocketListener& listener, Fd socket)
      : listener_(listener),
        socket_(std::move(socket)),
        connection_(listener.server_, listener.server_.watches(), listener.server_.ready(), *this, Subject{}) {}
  ~Client() override { listener_.loop_.remove(socket_.get()); }

  Status start() {
    return listener_.loop_.add(socket_.get(), interest_, [this](uint32_t events) {
      if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0) may_read_ = true;
      if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) may_write_ = true;
      listener_.server_.ready().push(*this);
    });
  }

  bool take_turn() override;

  int fd() const { return socket_.get(); }
  Connection& connection() { return connection_; }
  const Connection& connection() const { return connection_; }
  // There may be something to read or to write.
  void look() {
    may_read_ = true;
    listener_.server_.ready().push(*this);
  }

 private:
  // False: the client is gone.
  bool read_some();
  bool write_some();
  bool leave() {
    listener_.clients_.erase(socket_.get());  // destroys *this
    return false;
  }
  void set_interest();

  SocketListener& listener_;
  Fd socket_;
  uint32_t interest_ = EPOLLIN;
  bool may_read_ = false;
  bool may_write_ = true;
  WorkAccount account_;
  Connection connection_;
};

bool SocketListener::Client::read_some() {
  std::array<char, kInputBytes> bytes;
  const ssize_t count = recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  if (count > 0) {
    may_read_ = static_cast<size_t>(count) == bytes.size();
    connection_.receive(std::string_view(bytes.data(), static_cast<size_t>(count)));
    return true;
  }
  may_read_ = false;
  return count < 0 && (errno == EAGAIN || errno == EINTR);
}

bool SocketListener::Client::write_some() {
  const std::string_view output = connection_.output();
  if (output.empty() || !may_write_) return true;
  const ssize_t count = send(socket_.get(), output.data(), output.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (count < 0) {
    may_write_ = false;
    return errno == EAGAIN || errno == EINTR;
  }
  may_write_ = static_cast<size_t>(count) == output.size();
  connection_.sent(static_cast<size_t>(count));
  return true;
}

// At most one read, kRequestsPerTurn requests or a turn's work, and one write.
bool SocketListener::Client::take_turn() {
  if (!account_.begin_turn()) return true;
  if (may_read_ && connection_.wants_input() && !read_some()) return leave();
  for (unsigned handled = 0; handled < kRequestsPerTurn && connection_.has_work() && !account_.is_spent(); ++handled) {
    connection_.process(1);
  }
  account_.end_turn();
  if (!write_some() || connection_.is_broken()) return leave();
  set_interest();
  return connection_.has_work() || (may_write_ && !connection_.output().empty()) ||
         (may_read_ && connection_.wants_input());
}

// Input is not asked for while there is no room for it (or while it waits its turn), so the level-triggered loop
// sleeps.
void SocketListener::Client::set_interest() {
  const bool is_stuck = !may_write_ && !connection_.output().empty();
  const bool is_deaf = (is_stuck && !connection_.wants_input()) || (connection_.is_parked() && may_read_);
  const uint32_t wanted =
      (is_deaf ? 0u : static_cast<uint32_t>(EPOLLIN)) | (is_stuck ? static_cast<uint32_t>(EPOLLOUT) : 0u);
  if (wanted == interest_) return;
  interest_ = wanted;
  if (const Status modified = listener_.loop_.modify(socket_.get(), wanted); !modified) {
    log::error("{}", modified.error().message());
  }
}

SocketListener::SocketListener(std::string path, Server& server, EventLoop& loop)
    : path_(std::move(path)), server_(server), loop_(loop) {}

Result<std::unique_ptr<SocketListener>> SocketListener::open(std::string path, Server& server, EventLoop& loop) {
  Fd socket = TRY(listen_unix(path, SOCK_STREAM));
  std::unique_ptr<SocketListener> listener(new SocketListener(std::move(path), server, loop));
  TRY_VOID(listener->listen(std::move(socket)));
  return listener;
}

Status SocketListener::listen(Fd socket) {
  acceptor_ = TRY(Acceptor::start(loop_, std::move(socket), [this](Fd client) {
    if (clients_.size() >= kMostClients) return;  // disconnected: the protocol has no word for it
    if (const Status added = add_client(std::move(client)); !added) {
      log::warn("adding a client: {}", added.error().message());
    }
  }));
  return {};
}

// Records (record.h): the listening socket, then for each client its watches, its open transactions, what it has said
// and what it has to hear, and last its socket.
std::string SocketListener::save() const {
  std::string saved;
  const auto keep_open = [](int fd) {
    fcntl(fd, F_SETFD, 0);
    return fmt::to_string(fd);
  };
  append_record(saved, kSocketRecord, kDom0, keep_open(acceptor_->fd()));
  for (const auto& [fd, client] : clients_) {
    const Connection& connection = client->connection();
    connection.for_each_watch([&](const Watch& watch) {
      append_record(saved, XS_WATCH, kDom0,
                    fmt::format("{}\0{}\0{}\0{}\0"sv, watch.path, watch.token, watch.depth, watch.relative_bytes));
    });
    connection.for_each_transaction(
        [&](uint32_t id) { append_record(saved, XS_TRANSACTION_START, kDom0, fmt::to_string(id)); });
    append_record(saved, kInputRecord, kDom0, connection.unhandled_input());
    append_record(saved, kOutputRecord, kDom0, connection.output());
    append_record(saved, kSocketRecord, kDom0, keep_open(fd));
  }
  return saved;
}

Result<std::unique_ptr<SocketListener>> SocketListener::resume(std::string path, std::string_view saved, Server& server,
                                                               EventLoop& loop) {
  Record record;
  int fd = -1;
  if (!take_record(saved, record) || record.type != kSocketRecord || !parse_decimal(record.payload, fd)) {
    return fail(EINVAL, "what the program before has left");
  }
  std::unique_ptr<SocketListener> listener(new SocketListener(std::move(path), server, loop));
  TRY_VOID(listener->listen(inherited(fd)));
  TRY_VOID(listener->resume_clients(saved));
  return listener;
}

Status SocketListener::resume_clients(std::string_view saved) {
  std::vector<Record> records;  // of one client
  Record record;
  while (take_record(saved, record)) {
    records.push_back(record);
    if (record.type != kSocketRecord) continue;
    int fd = -1;
    if (!parse_decimal(record.payload, fd)) return fail(EINVAL, "a socket that the program before has left");
    TRY_VOID(add_client(inherited(fd)));
    Client& client = *clients_.at(fd);
    Connection& connection = client.connection();
    std::string_view output;
    for (const Record& said : records) {
      std::array<std::string_view, 4> strings;
      uint32_t number = 0, hidden = 0;
      if (said.type == XS_WATCH && split_strings(said.payload, strings) == strings.size() &&
          parse_decimal(strings[2], number) && parse_decimal(strings[3], hidden)) {
        connection.add_watch(strings[0], strings[1], hidden, number);
      } else if (said.type == XS_TRANSACTION_START && parse_decimal(said.payload, number)) {
        connection.add_lost_transaction(number, server_.store().begin_lost());
      } else if (said.type == kInputRecord) {
        connection.receive(said.payload);
      } else if (said.type == kOutputRecord) {
        output = said.payload;
      }
    }
    connection.forget_output();  // the watches' first events
    connection.restore_output(output);
    client.look();
    records.clear();
  }
  return {};
}

SocketListener::~SocketListener() {
  clients_.clear();
  unlink(path_.c_str());
}

Status SocketListener::add_client(Fd socket) {
  const int fd = socket.get();
  auto client = std::make_unique<Client>(*this, std::move(socket));
  TRY_VOID(client->start());
  clients_.emplace(fd, std::move(client));
  return {};
}

}  // namespace xenopolis::xenstore
