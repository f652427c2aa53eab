// For tests: a daemon without its sockets, its guests, and somebody who sees all that they write.
#pragma once

#include <gtest/gtest.h>

#include "base/log.h"
#include "console/testing/fake_guest.h"
#include "console/testing/memory_file.h"
#include "console/testing/recorder.h"
#include "console/testing/text.h"

namespace xenopolis::console {

class ConsolesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    log::start("test", "error");
    server.add_viewer(recorder);
  }

  static Port port_of(ConsoleId id) { return FakeLink::port_of(id); }
  static Port port_of(DomId domid) { return port_of(ConsoleId{domid, 0}); }
  static std::string name_of(DomId domid) { return fmt::format("guest-{}", domid); }

  void attach(DomId domid) { attach_all(domid, domid); }
  void attach_all(DomId first, DomId last) {
    for (DomId domid = first; domid <= last; ++domid) {
      ASSERT_TRUE(server.attach(FakeLink::request({domid, 0}, name_of(domid), ++incarnation_)));
    }
  }
  // Its text goes on from where it was; as much as its ring has room for. Says how much that was.
  size_t write(DomId domid, size_t bytes) {
    uint64_t& written = written_[domid];
    const size_t count = link.guest(domid).write(text_of(domid, written, bytes));
    written += count;
    server.on_event(port_of(domid));
    return count;
  }
  uint64_t written(DomId domid) { return written_[domid]; }
  void settle() {
    for (int rounds = 0; server.has_work(); ++rounds) {
      ASSERT_LT(rounds, 100'000);
      server.run_turns();
    }
  }
  // Every byte of its text has been seen, once.
  void expect_heard(DomId domid) {
    const std::string& said = recorder.said[name_of(domid)];
    EXPECT_EQ(said.size(), written_[domid]) << name_of(domid);
    EXPECT_EQ(text_fault(domid, 0, said), "") << name_of(domid);
  }

  ManualClock clock, calendar;
  FakeLink link;
  std::unique_ptr<History> history = History::open(memory_file()).value();
  Recorder recorder;
  Server server{link, *history, clock, calendar};

 private:
  uint64_t incarnation_ = 0;
  std::map<DomId, uint64_t> written_;
};

}  // namespace xenopolis::console
