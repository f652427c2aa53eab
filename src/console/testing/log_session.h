// For tests of logs: consoles with guests, a history in a file, and a log writer that can be begun anew.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "console/log_writer.h"
#include "console/testing/fake_guest.h"
#include "console/testing/memory_file.h"

namespace xenopolis::console {

class LogSession {
 public:
  static constexpr uint64_t kStartNs = 1'795'399'803'123'000'000;  // 2026-11-23 02:10:03.123 UTC
  static constexpr uint64_t kMsNs = 1'000'000;

  explicit LogSession(LogOptions options, Fd memory = memory_file(), const HistoryLimits& limits = {})
      : options_(std::move(options)), memory_(std::move(memory)), limits_(limits) {
    calendar_.advance_ns(kStartNs - calendar_.now_ns());
    start();
  }
  ~LogSession() { stop(); }

  // The daemon ends in order, or begins.
  void stop() {
    log_.reset();
    server_.reset();
    history_.reset();
  }
  void start() {
    history_ = History::open(same_file(memory_), limits_).value();
    server_ = std::make_unique<Server>(link_, *history_, clock_, calendar_);
    log_ = LogWriter::open(*server_, loop_, clock_, options_).value();
  }

  void attach(DomId domid, std::string_view name, uint16_t index = 0, uint64_t incarnation = 1) {
    CHECK(server_->attach(FakeLink::request({domid, index}, name, incarnation)));
  }
  void detach(DomId domid, uint16_t index = 0) { server_->detach({domid, index}); }

  // The daemon takes it from the ring, turn by turn; the log does not get one.
  void say(DomId domid, std::string_view text, uint16_t index = 0) {
    while (!text.empty()) {
      text.remove_prefix(link_.guest(domid, index).write(text));
      server_->on_event(FakeLink::port_of({domid, index}));
      while (server_->has_work()) server_->run_turns();
    }
  }
  void pass_ms(uint64_t ms) {
    clock_.advance_ns(ms * kMsNs);
    calendar_.advance_ns(ms * kMsNs);
  }
  // Turns until all is written whose time has come.
  void settle() {
    for (int i = 0; i < 1000; ++i) log_->turn();
  }

  LogWriter& log() { return *log_; }
  Server& server() { return *server_; }
  FakeLink& link() { return link_; }
  EventLoop& loop() { return loop_; }
  const Fd& memory() const { return memory_; }
  Stream stream(DomId domid, uint16_t index = 0) { return server_->find({domid, index})->stream(); }

 private:
  LogOptions options_;
  Fd memory_;
  HistoryLimits limits_;
  ManualClock clock_, calendar_;
  FakeLink link_;
  EventLoop loop_ = EventLoop::create().value();
  std::unique_ptr<History> history_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<LogWriter> log_;
};

}  // namespace xenopolis::console
