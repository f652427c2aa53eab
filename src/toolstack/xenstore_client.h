// An asynchronous xenstore client: many requests under way on one socket, answers by callback.
//
// libxenstore answers one request at a time; a toolstack that creates thousands of domains would wait for thousands of
// round trips.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/result.h"
#include "xen_abi/xen.h"

namespace xenopolis::toolstack {

// The wire format is <xen/io/xs_wire.h>. All calls from the loop's thread.
class XenstoreClient {
 public:
  // The payload of the answer, or the daemon's error (errno of the error's name).
  using Reply = std::function<void(Result<std::string>)>;
  using Names = std::function<void(Result<std::vector<std::string>>)>;
  using WatchEvent = std::function<void(std::string_view path, std::string_view token)>;

  // Retries until the daemon listens, at most `patience_ms`. Does so again when it goes away later: then everything
  // that it has not answered is asked once more (what a toolstack asks may be done twice), and watches are set again.
  static Result<std::unique_ptr<XenstoreClient>> connect(EventLoop& loop, const std::string& socket_path,
                                                         int patience_ms);
  // For whoever sees to it that there is a daemon: connects as soon as one listens, and waits for it without end.
  static std::unique_ptr<XenstoreClient> attend(EventLoop& loop, const std::string& socket_path);
  ~XenstoreClient();

  void on_watch_event(WatchEvent handler) { on_watch_event_ = std::move(handler); }
  // Called once when the daemon does not come back; requests under way get EPIPE before.
  void on_disconnect(std::function<void()> handler) { on_disconnect_ = std::move(handler); }

  // Paths are absolute here. An empty callback means that the answer does not matter.
  void read(std::string_view path, Reply reply);
  // The names of its children, in pieces if they are many; EAGAIN: they have changed meanwhile, time and again.
  void directory(std::string_view path, Names reply);
  void write(std::string_view path, std::string_view value, Reply reply = {});
  void mkdir(std::string_view path, Reply reply = {});
  void remove(std::string_view path, Reply reply = {});
  // "n0" "r5": owner first, as xenstore-chmod writes them.
  void set_permissions(std::string_view path, const std::vector<std::string>& permissions, Reply reply = {});
  void watch(std::string_view path, std::string_view token, Reply reply = {});
  void unwatch(std::string_view path, std::string_view token, Reply reply = {});
  void introduce(DomId domid, Gfn store_gfn, Port store_port, Reply reply);
  void release(DomId domid, Reply reply);
  // "T" or "F".
  void is_introduced(DomId domid, Reply reply);
  // Tells those who watch @releaseDomain that the domain has shut down; no error when it is unknown.
  void tell_shutdown(DomId domid);

  bool is_connected() const { return static_cast<bool>(socket_); }
  size_t requests_under_way() const { return waiting_.size(); }
  // How many there were ever.
  uint64_t answers() const { return answers_; }

 private:
  struct Request {
    std::string message;
    Reply reply;
  };
  struct Listing;

  XenstoreClient(EventLoop& loop, std::string socket_path, int patience_ms)
      : loop_(loop), socket_path_(std::move(socket_path)), patience_ms_(patience_ms) {}
  Status use(Fd socket);
  void lose_connection();
  void connect_again();
  void request(xsd_sockmsg_type type, std::initializer_list<std::string_view> payload, Reply reply);
  void continue_listing(const std::shared_ptr<Listing>& listing);
  void flush();
  void receive();
  void handle(const xsd_sockmsg& header, std::string_view payload);
  void give_up();
  void want_write();

  EventLoop& loop_;
  const std::string socket_path_;
  const int patience_ms_;  // below 0: no limit
  Fd socket_;              // none while the daemon is away
  EventLoop::TimerId retry_ = 0;
  uint64_t give_up_ns_ = 0;
  bool has_given_up_ = false;
  uint64_t answers_ = 0;
  std::string output_;
  bool wants_write_ = false;
  std::string input_;
  std::deque<Request> waiting_;                            // the daemon answers in order
  std::set<std::pair<std::string, std::string>> watches_;  // path and token
  WatchEvent on_watch_event_;
  std::function<void()> on_disconnect_;
};

}  // namespace xenopolis::toolstack
