// For tests: guests that are a page each, and log files in a directory that goes away again.
#pragma once

#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>

#include "console/server.h"

namespace xenopolis::console {

// What a guest does with its ring.
struct FakeGuest {
  xencons_interface page{};

  // As much as fits.
  size_t write(std::string_view text) {
    size_t written = 0;
    for (; written < text.size() && page.out_prod - page.out_cons < sizeof page.out; ++written) {
      page.out[MASK_XENCONS_IDX(page.out_prod, page.out)] = text[written];
      page.out_prod = page.out_prod + 1;
    }
    return written;
  }
};

class FakeLink final : public DomainLink {
 public:
  static constexpr Port kFirstPort = 100;  // Dom0's port of domain d is kFirstPort + d

  std::map<DomId, FakeGuest> guests;
  std::map<Port, int> notified;
  std::map<Port, int> detached;
  // Called at each notification, for guests that go on writing.
  std::function<void(DomId)> on_notify;

  Result<AttachedConsole> attach(DomId domid, Gfn, Port remote_port) override {
    if (remote_port == 0) return fail(EINVAL, "port 0");
    return AttachedConsole{&guests[domid].page, kFirstPort + domid};
  }
  void notify(Port port) override {
    ++notified[port];
    if (on_notify) on_notify(static_cast<DomId>(port - kFirstPort));
  }
  void detach(Port port) override { ++detached[port]; }
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
