#include "console/sessions.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/log.h"
#include "base/unix_socket.h"

namespace xenopolis::console {
namespace {

constexpr size_t kReadBytes = 4096;
// Frames of input handled in one turn: they may be small.
constexpr unsigned kFramesPerTurn = 64;

std::string to_line(const nlohmann::json& answer) {
  return answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// By name or, when nobody has that name, by domid.
Result<Console*> find(Server& server, const std::string& domain, uint16_t index) {
  if (Console* const named = server.find(domain, index)) return named;
  DomId domid = 0;
  const auto [end, error] = std::from_chars(domain.data(), domain.data() + domain.size(), domid);
  const bool is_number = error == std::errc() && end == domain.data() + domain.size();
  if (is_number && server.find(domain, 0) == nullptr) {
    if (Console* const numbered = server.find(ConsoleId{domid, index})) return numbered;
  }
  const bool is_known = server.find(domain, 0) != nullptr || (is_number && server.find(ConsoleId{domid, 0}) != nullptr);
  if (is_known) return fail(ENXIO, fmt::format("domain {} has no console {}", domain, index));
  return fail(ENOENT, fmt::format("no domain {}", domain));
}

}  // namespace

class Sessions::Client final : public Ready {
 public:
  Client(Sessions& sessions, Fd socket)
      : sessions_(sessions), socket_(std::move(socket)), pid_(peer_of(socket_.get())) {}
  ~Client() override {
    if (is_watcher_) --sessions_.watchers_;
    sessions_.loop_.remove(socket_.get());
  }

  Status start() {
    return sessions_.loop_.add(socket_.get(), interest_, [this](uint32_t events) {
      if ((events & EPOLLIN) != 0) may_read_ = true;
      if ((events & EPOLLOUT) != 0) may_write_ = true;
      if ((events & (EPOLLHUP | EPOLLERR)) != 0) is_gone_ = true;
      sessions_.push(*this);
    });
  }

  bool take_turn() override;
  void refuse(const Error& error);

 private:
  void read_some();
  void handle_request();
  void handle_input();
  Status open_view(const ClientRequest& request);
  bool wants_input() const;
  bool has_frames() const { return view_ && view_->wants_input() && may_have_frame_; }
  void set_interest();
  bool leave() {
    sessions_.clients_.erase(socket_.get());  // destroys *this
    return false;
  }

  Sessions& sessions_;
  Fd socket_;
  const pid_t pid_;
  uint32_t interest_ = EPOLLIN;
  bool may_read_ = false;
  bool may_write_ = true;
  bool input_ended_ = false;
  bool end_was_told_ = false;  // to the view
  bool is_gone_ = false;       // nobody reads what we send
  bool is_over_ = false;       // to be closed when all is sent
  bool is_watcher_ = false;
  bool may_have_frame_ = false;  // reader_ may: it was not asked since it has got bytes
  std::string line_;             // the request, as far as it has come
  FrameReader reader_;
  Output output_;
  std::unique_ptr<View> view_;  // refers to output_
};

// At most one read, kFramesPerTurn frames, and what fits into the output.
bool Sessions::Client::take_turn() {
  if (may_read_ && wants_input()) read_some();
  if (view_) handle_input();
  if (view_) view_->fill();
  if (is_gone_ || output_.pending() > Output::kMost) return leave();
  if (may_write_) {
    const Output::Sent sent = output_.send_to(socket_.get());
    if (sent == Output::Sent::kNobodyThere) return leave();
    may_write_ = sent == Output::Sent::kAll;
  }
  if (output_.pending() == 0 && (is_over_ || (view_ && view_->is_over()))) return leave();
  set_interest();
  return (may_write_ && view_ && view_->has_more()) || (may_read_ && wants_input()) || has_frames();
}

bool Sessions::Client::wants_input() const {
  return !input_ended_ && !is_over_ && (!view_ || view_->wants_input());
}

void Sessions::Client::read_some() {
  std::array<char, kReadBytes> bytes;
  const ssize_t count = recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
  may_read_ = count == static_cast<ssize_t>(bytes.size());
  if (count < 0) {
    is_gone_ = errno != EAGAIN && errno != EINTR;
    return;
  }
  if (count == 0) {
    input_ended_ = true;
    // Who leaves without a request wants nothing.
    if (!view_) is_gone_ = true;
    return;
  }
  const std::string_view text(bytes.data(), static_cast<size_t>(count));
  if (view_) {
    reader_.receive(text);
    may_have_frame_ = true;
  } else {
    line_.append(text);
    handle_request();
  }
}

void Sessions::Client::handle_request() {
  const size_t end = line_.find('\n');
  if (end == std::string::npos) {
    if (line_.size() > kMaxRequestLine) refuse(Error{E2BIG, "a request that long"});
    return;
  }
  const std::string line = std::exchange(line_, {});
  const Result<ClientRequest> request = parse_request(std::string_view(line).substr(0, end));
  if (!request) return refuse(request.error());
  if (const Status opened = open_view(*request); !opened) return refuse(opened.error());
  reader_.receive(std::string_view(line).substr(end + 1));
  may_have_frame_ = true;
}

// The answer stands before the frames of the view.
Status Sessions::Client::open_view(const ClientRequest& request) {
  nlohmann::json answer{{"ok", true}};
  const auto wake = [this] { sessions_.push(*this); };
  if (request.op == ClientRequest::Op::kWatch) {
    if (sessions_.watchers_ == kMostWatchers) return fail(EUSERS, "there are too many who watch all consoles");
    is_watcher_ = true;
    ++sessions_.watchers_;
    output_.line(to_line(answer));
    view_ = std::make_unique<AllConsoles>(sessions_.server_, request, sessions_.calendar_.now_ns() / 1'000'000, output_,
                                          wake);
    return {};
  }
  Console& console = *TRY(find(sessions_.server_, request.domain, request.console));
  const auto writer = sessions_.writers_.find(key_of(console.id()));
  const bool writes = request.write && (request.force || writer == sessions_.writers_.end());
  answer["domid"] = console.id().domid;
  answer["console"] = console.id().index;
  answer["name"] = console.name();
  answer["writes"] = writes;
  answer["writer_pid"] = writes ? pid_ : writer == sessions_.writers_.end() ? 0 : writer->second->pid();
  output_.line(to_line(answer));
  view_ = std::make_unique<OneConsole>(console, request, pid_, sessions_.writers_, output_, wake);
  return {};
}

void Sessions::Client::handle_input() {
  for (unsigned i = 0; i < kFramesPerTurn && has_frames(); ++i) {
    const std::optional<Frame> frame = reader_.next();
    may_have_frame_ = frame.has_value();
    if (!frame) break;
    if (frame->header.kind != FrameKind::kInput || !view_->input(frame->payload)) {
      log::info("process {} says what a console's client must not say", pid_);
      is_gone_ = true;
      return;
    }
  }
  if (reader_.is_broken()) is_gone_ = true;
  if (input_ended_ && !may_have_frame_ && !std::exchange(end_was_told_, true)) view_->end_input();
}

void Sessions::Client::refuse(const Error& error) {
  output_.line(to_line({{"ok", false}, {"errno", error.code}, {"error", error.what}}));
  is_over_ = true;
}

// Input is not asked for while there is no room for it, so the level-triggered loop sleeps; the end of the connection
// is reported all the same.
void Sessions::Client::set_interest() {
  const bool is_stuck = !may_write_ && (output_.pending() != 0 || (view_ && view_->has_more()));
  const uint32_t wanted = (wants_input() && !may_read_ ? static_cast<uint32_t>(EPOLLIN) : 0u) |
                          (is_stuck ? static_cast<uint32_t>(EPOLLOUT) : 0u);
  if (wanted == interest_) return;
  interest_ = wanted;
  if (const Status modified = sessions_.loop_.modify(socket_.get(), wanted); !modified) {
    log::error("{}", modified.error().message());
  }
}

Sessions::Sessions(std::string path, Server& server, EventLoop& loop, const Clock& calendar)
    : path_(std::move(path)), server_(server), loop_(loop), calendar_(calendar) {}

Result<std::unique_ptr<Sessions>> Sessions::open(const std::string& path, Server& server, EventLoop& loop,
                                                 const Clock& calendar) {
  Fd listener = TRY(listen_unix(path, SOCK_STREAM));
  std::unique_ptr<Sessions> sessions(new Sessions(path, server, loop, calendar));
  sessions->acceptor_ = TRY(Acceptor::start(
      loop, std::move(listener), [self = sessions.get()](Fd socket) { self->add_client(std::move(socket)); }));
  return sessions;
}

Sessions::~Sessions() {
  clients_.clear();
  unlink(path_.c_str());
}

void Sessions::push(Ready& client) {
  if (!client.is_linked()) ready_.push_back(client);
}

void Sessions::turn() {
  for (unsigned i = 0; i < kClientsPerTurn && !ready_.empty(); ++i) {
    Ready& client = ready_.front();
    ready_.pop_front();
    if (client.take_turn()) push(client);
  }
}

void Sessions::add_client(Fd socket) {
  const int fd = socket.get();
  auto client = std::make_unique<Client>(*this, std::move(socket));
  if (clients_.size() >= kMostClients) {
    static const std::string refusal =
        to_line({{"ok", false}, {"errno", EUSERS}, {"error", "there are too many clients"}});
    (void)send(fd, refusal.data(), refusal.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return;
  }
  if (const Status added = client->start(); !added) return log::warn("adding a client: {}", added.error().message());
  clients_.emplace(fd, std::move(client));
}

}  // namespace xenopolis::console
