#include "toolstack/xenstore_client.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <string>

#include "base/clock.h"
#include "toolstack/unix_socket.h"

namespace xenopolis::toolstack {
namespace {

// One send per turn of the loop carries all requests of that turn.
constexpr size_t kReadChunk = 64 * 1024;
constexpr uint64_t kRetryNs = 5'000'000;

int errno_of(std::string_view name) {
  // The error names that the protocol defines, <xen/io/xs_wire.h> xsd_errors.
  for (const auto& error : xsd_errors) {
    if (name == error.errstring) return error.errnum;
  }
  return EIO;
}

constexpr std::string_view kNul("\0", 1);

std::string message(xsd_sockmsg_type type, std::initializer_list<std::string_view> payload) {
  xsd_sockmsg header{type, 0, 0, 0};
  for (const std::string_view part : payload) header.len += static_cast<uint32_t>(part.size());
  std::string message;
  message.reserve(sizeof header + header.len);
  message.append(reinterpret_cast<const char*>(&header), sizeof header);
  for (const std::string_view part : payload) message.append(part);
  return message;
}

}  // namespace

Result<std::unique_ptr<XenstoreClient>> XenstoreClient::connect(EventLoop& loop, const std::string& socket_path,
                                                                int patience_ms) {
  Fd socket = TRY(connect_unix(socket_path, SOCK_STREAM, patience_ms));
  std::unique_ptr<XenstoreClient> client(new XenstoreClient(loop, socket_path, patience_ms));
  TRY_VOID(client->use(std::move(socket)));
  return client;
}

std::unique_ptr<XenstoreClient> XenstoreClient::attend(EventLoop& loop, const std::string& socket_path) {
  std::unique_ptr<XenstoreClient> client(new XenstoreClient(loop, socket_path, -1));
  client->connect_again();
  return client;
}

XenstoreClient::~XenstoreClient() {
  if (retry_ != 0) loop_.cancel(retry_);
  if (socket_) loop_.remove(socket_.get());
}

Status XenstoreClient::use(Fd socket) {
  socket_ = std::move(socket);
  wants_write_ = false;
  return loop_.add(socket_.get(), EPOLLIN, [this](uint32_t events) {
    if ((events & EPOLLOUT) != 0) flush();
    if (socket_ && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive();
  });
}

void XenstoreClient::lose_connection() {
  loop_.remove(socket_.get());
  socket_.reset();
  input_.clear();
  output_.clear();
  const uint64_t now = MonotonicClock().now_ns();
  give_up_ns_ = now + static_cast<uint64_t>(patience_ms_) * 1'000'000;
  retry_ = loop_.at(now, [this] { connect_again(); });  // not at once: receive() must see that this one is lost
}

void XenstoreClient::connect_again() {
  retry_ = 0;
  Result<Fd> socket = connect_unix(socket_path_, SOCK_STREAM, 0);
  if (socket && use(std::move(*socket))) {
    // Watches that were answered; the others are among those that were not.
    for (const auto& [path, token] : watches_) {
      waiting_.push_front({message(XS_WATCH, {path, kNul, token, kNul}), {}});
    }
    for (const Request& request : waiting_) output_ += request.message;
    want_write();
    return;
  }
  const uint64_t now = MonotonicClock().now_ns();
  if (patience_ms_ >= 0 && now >= give_up_ns_) return give_up();
  retry_ = loop_.at(now + kRetryNs, [this] { connect_again(); });
}

void XenstoreClient::request(xsd_sockmsg_type type, std::initializer_list<std::string_view> payload, Reply reply) {
  if (has_given_up_) {
    if (reply) reply(fail(EPIPE, "polis-xenstored is gone"));
    return;
  }
  waiting_.push_back({message(type, payload), std::move(reply)});
  if (!socket_) return;
  output_ += waiting_.back().message;
  want_write();
}

// Written when the loop comes round: EPOLLOUT is ready at once, and more requests may join until then.
void XenstoreClient::want_write() {
  if (wants_write_) return;
  wants_write_ = true;
  if (!loop_.modify(socket_.get(), EPOLLIN | EPOLLOUT)) lose_connection();
}

void XenstoreClient::flush() {
  while (!output_.empty()) {
    const ssize_t sent = send(socket_.get(), output_.data(), output_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      lose_connection();
      return;
    }
    output_.erase(0, static_cast<size_t>(sent));
  }
  wants_write_ = false;
  if (!loop_.modify(socket_.get(), EPOLLIN)) lose_connection();
}

void XenstoreClient::receive() {
  std::array<char, kReadChunk> chunk;
  const ssize_t got = recv(socket_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return lose_connection();
  input_.append(chunk.data(), static_cast<size_t>(got));
  size_t offset = 0;
  while (input_.size() - offset >= sizeof(xsd_sockmsg)) {
    xsd_sockmsg header;
    std::memcpy(&header, input_.data() + offset, sizeof header);
    if (input_.size() - offset - sizeof header < header.len) break;
    const std::string_view payload = std::string_view(input_).substr(offset + sizeof header, header.len);
    offset += sizeof header + header.len;
    handle(header, payload);
    if (!socket_) return;
  }
  input_.erase(0, offset);
}

// `payload` goes with the connection, which whoever is called may lose.
void XenstoreClient::handle(const xsd_sockmsg& header, std::string_view payload) {
  if (header.type == XS_WATCH_EVENT) {
    const size_t path_end = payload.find('\0');
    if (path_end == std::string_view::npos || !on_watch_event_) return;
    const std::string kept(payload);
    const std::string_view view(kept);
    const std::string_view token = view.substr(path_end + 1);
    on_watch_event_(view.substr(0, path_end), token.substr(0, token.find('\0')));
    return;
  }
  if (waiting_.empty()) {
    lose_connection();  // an answer that nobody asked for: this is no xenstore daemon
    return;
  }
  ++answers_;
  const Reply reply = std::move(waiting_.front().reply);
  waiting_.pop_front();
  if (!reply) return;
  if (header.type == XS_ERROR) {
    reply(fail(errno_of(payload.substr(0, payload.find('\0'))), "polis-xenstored answered"));
  } else {
    reply(std::string(payload));
  }
}

void XenstoreClient::give_up() {
  has_given_up_ = true;
  for (std::deque<Request> lost = std::exchange(waiting_, {}); const Request& request : lost) {
    if (request.reply) request.reply(fail(EPIPE, "polis-xenstored is gone"));
  }
  if (on_disconnect_) on_disconnect_();
}

void XenstoreClient::read(std::string_view path, Reply reply) {
  request(XS_READ, {path, kNul}, std::move(reply));
}

// A list that comes in pieces: true for one generation of the node only.
struct XenstoreClient::Listing {
  static constexpr unsigned kTries = 16;

  std::string path;
  Names reply;
  std::string generation;
  std::string names;  // each with its NUL
  unsigned tries = 0;

  std::vector<std::string> all() const {
    std::vector<std::string> list;
    for (size_t begin = 0; begin < names.size();) {
      const size_t end = names.find('\0', begin);
      list.push_back(names.substr(begin, end - begin));
      begin = end + 1;
    }
    return list;
  }
};

void XenstoreClient::directory(std::string_view path, Names reply) {
  auto listing = std::make_shared<Listing>();
  listing->path = path;
  listing->reply = std::move(reply);
  continue_listing(listing);
}

// An answer is the generation, then names, and an empty one behind the last of all (docs/misc/xenstore.txt).
void XenstoreClient::continue_listing(const std::shared_ptr<Listing>& listing) {
  request(XS_DIRECTORY_PART, {listing->path, kNul, std::to_string(listing->names.size()), kNul},
          [this, listing](const Result<std::string>& answer) {
            if (!answer) return listing->reply(tl::make_unexpected(answer.error()));
            const size_t names = std::min(answer->find('\0'), answer->size() - 1) + 1;
            const std::string generation = answer->substr(0, names);
            if (!listing->names.empty() && generation != listing->generation) {
              if (++listing->tries == Listing::kTries) return listing->reply(fail(EAGAIN, "listing " + listing->path));
              listing->names.clear();
              return continue_listing(listing);
            }
            listing->generation = generation;
            listing->names += answer->substr(names);
            const bool is_last = answer->size() == names || answer->ends_with(std::string_view("\0\0", 2)) ||
                                 (answer->size() == names + 1 && answer->back() == '\0');
            if (!is_last) return continue_listing(listing);
            if (answer->size() > names) listing->names.pop_back();
            listing->reply(listing->all());
          });
}

void XenstoreClient::write(std::string_view path, std::string_view value, Reply reply) {
  request(XS_WRITE, {path, kNul, value}, std::move(reply));
}

void XenstoreClient::mkdir(std::string_view path, Reply reply) {
  request(XS_MKDIR, {path, kNul}, std::move(reply));
}

void XenstoreClient::remove(std::string_view path, Reply reply) {
  request(XS_RM, {path, kNul}, std::move(reply));
}

void XenstoreClient::set_permissions(std::string_view path, const std::vector<std::string>& permissions, Reply reply) {
  std::string list;
  for (const std::string& permission : permissions) list.append(permission).push_back('\0');
  request(XS_SET_PERMS, {path, kNul, list}, std::move(reply));
}

void XenstoreClient::watch(std::string_view path, std::string_view token, Reply reply) {
  request(XS_WATCH, {path, kNul, token, kNul},
          [this, watch = std::pair(std::string(path), std::string(token)),
           reply = std::move(reply)](const Result<std::string>& answer) {
            if (answer) watches_.insert(watch);
            if (reply) reply(answer);
          });
}

void XenstoreClient::unwatch(std::string_view path, std::string_view token, Reply reply) {
  watches_.erase({std::string(path), std::string(token)});
  request(XS_UNWATCH, {path, kNul, token, kNul}, std::move(reply));
}

void XenstoreClient::introduce(DomId domid, Gfn store_gfn, Port store_port, Reply reply) {
  request(XS_INTRODUCE,
          {std::to_string(domid), kNul, std::to_string(store_gfn), kNul, std::to_string(store_port), kNul},
          std::move(reply));
}

void XenstoreClient::release(DomId domid, Reply reply) {
  request(XS_RELEASE, {std::to_string(domid), kNul}, std::move(reply));
}

void XenstoreClient::is_introduced(DomId domid, Reply reply) {
  request(XS_IS_DOMAIN_INTRODUCED, {std::to_string(domid), kNul}, std::move(reply));
}

// polis-xenstored's own command, in place of VIRQ_DOM_EXC and a look at all domains.
void XenstoreClient::tell_shutdown(DomId domid) {
  request(XS_CONTROL, {"domain-shutdown", kNul, std::to_string(domid), kNul}, {});
}

}  // namespace xenopolis::toolstack
