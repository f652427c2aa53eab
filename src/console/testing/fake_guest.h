// For tests: guests that are a page each, what lies between them and the daemon, and a directory that goes away again.
#pragma once

#include <stdlib.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>

#include "console/server.h"

namespace xenopolis::console {

// An honest guest's end of its ring, wherever the page is; the daemon may be another thread or process.
class RingGuest {
 public:
  explicit RingGuest(xencons_interface& page) : page_(&page) {}

  // As much as fits; says how much.
  size_t write(std::string_view text) {
    const std::atomic_ref produced(page_->out_prod);
    const XENCONS_RING_IDX from = produced.load(std::memory_order_relaxed);
    const XENCONS_RING_IDX used = from - std::atomic_ref(page_->out_cons).load(std::memory_order_acquire);
    if (used > sizeof page_->out) return 0;
    const auto count = static_cast<uint32_t>(std::min<size_t>(text.size(), sizeof page_->out - used));
    for (uint32_t i = 0; i < count; ++i) page_->out[MASK_XENCONS_IDX(from + i, page_->out)] = text[i];
    produced.store(from + count, std::memory_order_release);
    return count;
  }
  // Takes at most `limit` bytes of its input.
  std::string read(size_t limit = sizeof(xencons_interface::in)) {
    const std::atomic_ref consumed(page_->in_cons);
    const XENCONS_RING_IDX from = consumed.load(std::memory_order_relaxed);
    const XENCONS_RING_IDX there = std::atomic_ref(page_->in_prod).load(std::memory_order_acquire) - from;
    std::string text(std::min<size_t>({there, limit, sizeof page_->in}), '?');
    for (uint32_t i = 0; i < text.size(); ++i) text[i] = page_->in[MASK_XENCONS_IDX(from + i, page_->in)];
    consumed.store(from + static_cast<uint32_t>(text.size()), std::memory_order_release);
    return text;
  }
  // Bytes that the daemon has not taken.
  uint32_t unread() const { return std::atomic_ref(page_->out_prod).load() - std::atomic_ref(page_->out_cons).load(); }

 private:
  xencons_interface* page_;
};

// A guest with a page of its own.
struct FakeGuest {
  xencons_interface page{};

  size_t write(std::string_view text) { return RingGuest(page).write(text); }
  std::string read(size_t limit = sizeof page.in) { return RingGuest(page).read(limit); }
};

class FakeLink final : public DomainLink {
 public:
  static constexpr Port kFirstPort = 100;
  // Dom0's end.
  static constexpr Port port_of(ConsoleId id) { return kFirstPort + id.domid + Port{id.index} * 100'000; }
  static constexpr ConsoleId console_of(Port port) {
    return {static_cast<DomId>((port - kFirstPort) % 100'000), static_cast<uint16_t>((port - kFirstPort) / 100'000)};
  }

  FakeGuest& guest(DomId domid, uint16_t index = 0) { return guests_[{domid, index}]; }

  // By port.
  std::map<Port, int> notified;
  std::map<Port, int> detached;
  // Called at each notification, for guests that go on writing.
  std::function<void(ConsoleId)> on_notify;

  Result<AttachedConsole> attach(const ConsoleRequest& request) override {
    if (request.remote_port == 0) return fail(EINVAL, "port 0");
    return AttachedConsole{&guest(request.console.domid, request.console.index).page, port_of(request.console)};
  }
  void notify(Port port) override {
    ++notified[port];
    if (on_notify) on_notify(console_of(port));
  }
  void detach(Port port) override { ++detached[port]; }

  // What polisd says to attach it.
  static ConsoleRequest request(ConsoleId id, std::string_view name, uint64_t incarnation = 1) {
    ConsoleRequest request{};
    request.kind = ConsoleRequestKind::kAttach;
    request.console = id;
    request.remote_port = 1;
    request.incarnation = incarnation;
    std::memcpy(request.name, name.data(), std::min(name.size(), sizeof request.name - 1));
    return request;
  }

 private:
  std::map<std::pair<DomId, uint16_t>, FakeGuest> guests_;
};

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = std::filesystem::temp_directory_path() / "xenopolis-console-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string log_of(const std::string& name) const {
    std::ifstream file(path_ / (name + ".log"));
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }

 private:
  std::filesystem::path path_;
};

}  // namespace xenopolis::console
