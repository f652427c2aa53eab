#include "console/machine_link.h"

#include <gtest/gtest.h>

#include <cstring>

#include "console/testing/memory_file.h"
#include "console/testing/recorder.h"
#include "machine/domain_memory.h"

namespace xenopolis::console {
namespace {

constexpr DomId kGuest = 7;
constexpr Gfn kConsoleGfn = 3;
constexpr uint64_t kRamPages = 16;

// A domain of the machine whose vCPU is this test.
class MachineLinkTest : public testing::TestWithParam<event::Abi> {
 protected:
  MachineLinkTest() {
    EXPECT_TRUE(event::create_dom0(channels_, GetParam()));
    consumer_.emplace(event::Consumer::attach(channels_, 1).value());
    machine::DomainMemory& memory = machine::memory_of(kGuest);
    memory.extent = machine_.frames().allocate_extent(kRamPages + 1).value();
    memory.ram_pages = kRamPages;
    event::DomainConfig config;
    config.shared_info = memory.page(kRamPages);
    EXPECT_TRUE(channels_.create_domain(kGuest, config));
    port_ = channels_.alloc_unbound(kDom0, kGuest, kDom0).value();
    link_.emplace(*consumer_, grants_);
    server_.emplace(*link_, *history_, clock_, clock_);
    server_->add_viewer(recorder_);
  }

  static ConsoleRequest request(DomId domid, Gfn gfn, Port port, const char* name) {
    ConsoleRequest request{};
    request.kind = ConsoleRequestKind::kAttach;
    request.console = {domid, 0};
    request.remote_port = port;
    request.gfn = gfn;
    request.incarnation = 1;
    std::strncpy(request.name, name, sizeof request.name - 1);
    return request;
  }
  void guest_writes(std::string_view text) {
    auto& page = *reinterpret_cast<xencons_interface*>(machine::memory_of(kGuest).page(kConsoleGfn));
    for (const char c : text) {
      page.out[MASK_XENCONS_IDX(page.out_prod, page.out)] = c;
      page.out_prod = page.out_prod + 1;
    }
  }
  bool guest_has_event() { return channels_.status(kDom0, kGuest, port_).value().pending; }
  void settle() {
    consumer_->drain([&](Port port) { server_->on_event(port); });
    while (server_->has_work()) server_->run_turns();
  }

  machine::Machine machine_ = machine::Machine::create(40 * machine::kGiB).value();
  event::EventChannels channels_{machine_};
  grant::GrantTables grants_{machine_};
  std::optional<event::Consumer> consumer_;
  Port port_ = 0;
  ManualClock clock_;
  std::unique_ptr<History> history_ = History::open(memory_file()).value();
  Recorder recorder_;
  std::optional<MachineLink> link_;
  std::optional<Server> server_;
};

TEST_P(MachineLinkTest, EventOfTheGuestBringsItsTextIntoTheLogAndAnEventBack) {
  ASSERT_TRUE(server_->attach(request(kGuest, kConsoleGfn, port_, "guest")));
  settle();
  EXPECT_FALSE(guest_has_event());
  guest_writes("hello\n");
  ASSERT_TRUE(channels_.send(kGuest, port_));
  settle();
  EXPECT_EQ(recorder_.said["guest"], "hello\n");
  EXPECT_TRUE(guest_has_event());
}

TEST_P(MachineLinkTest, TextFromBeforeTheBindingIsNotForgotten) {
  guest_writes("early\n");
  static_cast<void>(channels_.send(kGuest, port_));
  ASSERT_TRUE(server_->attach(request(kGuest, kConsoleGfn, port_, "guest")));
  settle();
  EXPECT_EQ(recorder_.said["guest"], "early\n");
}

TEST_P(MachineLinkTest, DetachGivesTheChannelBack) {
  ASSERT_TRUE(server_->attach(request(kGuest, kConsoleGfn, port_, "guest")));
  EXPECT_EQ(channels_.status(kDom0, kGuest, port_).value().status, static_cast<uint32_t>(EVTCHNSTAT_interdomain));
  server_->detach({kGuest, 0});
  EXPECT_EQ(channels_.status(kDom0, kGuest, port_).value().status, static_cast<uint32_t>(EVTCHNSTAT_unbound));
  EXPECT_TRUE(server_->attach(request(kGuest, kConsoleGfn, port_, "guest")));
}

TEST_P(MachineLinkTest, WhatADeadPredecessorHasBoundIsTakenOverButNotFromOurselves) {
  ASSERT_TRUE(server_->attach(request(kGuest, kConsoleGfn, port_, "guest")));
  ConsoleRequest twice = request(kGuest, kConsoleGfn, port_, "guest");
  twice.console.index = 1;
  EXPECT_FALSE(server_->attach(twice));
  MachineLink successor(*consumer_, grants_);
  const AttachedConsole attached = successor.attach(request(kGuest, kConsoleGfn, port_, "guest")).value();
  guest_writes("to the successor");
  ASSERT_TRUE(channels_.send(kGuest, port_));
  Port heard = 0;
  consumer_->drain([&](Port port) { heard = port; });
  EXPECT_EQ(heard, attached.port);
}

TEST_P(MachineLinkTest, WrongDomainsFramesAndPortsAreErrors) {
  EXPECT_EQ(server_->attach(request(kDomIdCount, kConsoleGfn, port_, "x")).error().code, EINVAL);
  EXPECT_EQ(server_->attach(request(kGuest, kRamPages, port_, "x")).error().code, EINVAL);
  EXPECT_EQ(server_->attach(request(kGuest, ~Gfn{0}, port_, "x")).error().code, EINVAL);
  EXPECT_FALSE(server_->attach(request(kGuest, kConsoleGfn, port_ + 1, "x")));
  EXPECT_FALSE(server_->attach(request(kGuest + 1, kConsoleGfn, port_, "x")));
}

INSTANTIATE_TEST_SUITE_P(Abis, MachineLinkTest, testing::Values(event::Abi::kTwoLevel, event::Abi::kFifo),
                         [](const auto& abi) { return abi.param == event::Abi::kFifo ? "Fifo" : "TwoLevel"; });

}  // namespace
}  // namespace xenopolis::console
