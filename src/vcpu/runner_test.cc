// Guests of ours on the runner. A process has one backend: ctest runs this once for each, --gtest_filter=*/hosted or
// */kvm.
#include "vcpu/runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "vcpu/testing/test_host.h"

namespace xenopolis::vcpu {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr uint64_t kMs = 1'000'000;

class RunnerTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto backend = testing::backend_called(GetParam());
    if (!backend) {
      if (std::getenv("REQUIRE_KVM") != nullptr && testing::is_testable(GetParam()))
        FAIL() << backend.error().message();
      GTEST_SKIP() << backend.error().message();
    }
    host_ = std::make_unique<testing::TestHost>(**backend);
  }

  DomId start(const std::string& guest, const std::string& command_line = "") {
    return host_->start(XENOPOLIS_GUEST_DIR "/" + guest, command_line).value();
  }
  void let_run(uint64_t ns) {
    const uint64_t end_ns = clock_.now_ns() + ns;
    host_->run_until([&] { return clock_.now_ns() >= end_ns; });
  }

  MonotonicClock clock_;
  std::unique_ptr<testing::TestHost> host_;
};

INSTANTIATE_TEST_SUITE_P(, RunnerTest, ::testing::Values("hosted", "kvm"), [](const auto& test) { return test.param; });

TEST_P(RunnerTest, GuestPrintsItsCommandLineAndPowersOff) {
  const DomId domid = start("hello", "one two");
  ASSERT_TRUE(host_->run_until_ended(domid));
  EXPECT_THAT(host_->console(domid), HasSubstr("[one two]"));
  EXPECT_EQ(host_->end_of(domid).reason, static_cast<uint32_t>(SHUTDOWN_poweroff));
  const domain::DomainRecord& record = host_->record(domid);
  EXPECT_EQ(record.state.load(), domain::State::kShutdown);
  EXPECT_EQ(record.shutdown_reason, static_cast<uint32_t>(SHUTDOWN_poweroff));
  EXPECT_GE(record.first_run_ns.load(), record.built_ns.load());
  EXPECT_GT(record.exits.load(), 0u);
  EXPECT_GT(record.hypercalls.load(), 0u);
  EXPECT_GT(record.run_time_ns.load(), 0u);
}

TEST_P(RunnerTest, SpinningGuestsDoNotStarveTheirNeighbour) {
  const DomId first = start("spin"), second = start("spin");
  ASSERT_TRUE(host_->run_until([&] {
    return host_->console(first).find("spin begins") != std::string::npos &&
           host_->console(second).find("spin begins") != std::string::npos;
  }));
  const DomId neighbour = start("timer");
  ASSERT_TRUE(host_->run_until_ended(neighbour));
  EXPECT_THAT(host_->console(neighbour), HasSubstr("PASS timer"));
  EXPECT_FALSE(host_->ended(first));
  EXPECT_FALSE(host_->ended(second));
}

TEST_P(RunnerTest, SpinningGuestsShareTheCpuEvenly) {
  const DomId first = start("spin"), second = start("spin"), third = start("spin");
  let_run(300 * kMs);
  const auto share = [&](DomId domid) { return static_cast<double>(host_->record(domid).run_time_ns.load()) / kMs; };
  // A third each; the machine may have better to do in the middle of somebody's slice.
  const double total = share(first) + share(second) + share(third);
  for (const DomId domid : {first, second, third}) EXPECT_GT(share(domid), total / 6);
}

TEST_P(RunnerTest, GuestThatMakesHypercallsWithoutEndDoesNotStarveItsNeighbour) {
  const DomId storm = start("storm", "storm_ms=60000");
  let_run(20 * kMs);
  const DomId neighbour = start("hello");
  ASSERT_TRUE(host_->run_until_ended(neighbour, 5'000 * kMs));
  EXPECT_FALSE(host_->ended(storm));
}

TEST_P(RunnerTest, CitizenBeatsAnswersPingsAndObeysShutdown) {
  const DomId domid = start("citizen", "beat_ms=10");
  testing::FakeStore& store = host_->store(domid);
  ASSERT_TRUE(host_->run_until([&] { return store.read("data/state") == "running"; }));
  ASSERT_TRUE(host_->run_until([&] { return host_->console(domid).ends_with("\n"); }));
  EXPECT_THAT(host_->console(domid), StartsWith("citizen d1 domid 1 up"));

  const auto port = static_cast<Port>(std::stoul(store.read("device/vif/0/event-channel")));
  const Port ours = host_->dom0().bind_interdomain(domid, port).value();
  int answers = 0;
  host_->on_dom0_event = [&](Port from) { answers += from == ours; };
  for (int ping = 1; ping <= 20; ++ping) {
    ASSERT_TRUE(host_->dom0().send(ours).has_value());
    ASSERT_TRUE(host_->run_until([&] { return answers >= ping; })) << ping;
  }

  store.write("control/shutdown", "poweroff");
  host_->serve(domid);
  ASSERT_TRUE(host_->run_until_ended(domid));
  EXPECT_EQ(host_->end_of(domid).reason, static_cast<uint32_t>(SHUTDOWN_poweroff));
}

TEST_P(RunnerTest, RamdiskReachesTheGuestByteForByte) {
  const std::string path = ::testing::TempDir() + "ramdisk_" + GetParam();
  constexpr size_t kBytes = 100'001;
  std::string content(kBytes, '\0');
  for (size_t i = 0; i < kBytes; ++i) content[i] = static_cast<char>(i * 7 + i / 256);
  std::ofstream(path) << content;
  const auto domid = host_->start(XENOPOLIS_GUEST_DIR "/ramdisk", "bytes=100001", 4, path);
  std::filesystem::remove(path);
  ASSERT_TRUE(domid.has_value()) << domid.error().message();
  ASSERT_TRUE(host_->run_until_ended(*domid));
  EXPECT_THAT(host_->console(*domid), HasSubstr("PASS ramdisk"));
}

TEST_P(RunnerTest, RamdiskThatDoesNotFitIsRefused) {
  const std::string path = ::testing::TempDir() + "big_ramdisk_" + GetParam();
  for (const uint64_t bytes : {4 * machine::kMiB - 2 * kPageSize, 5 * machine::kMiB}) {
    std::ofstream(path) << "";
    std::filesystem::resize_file(path, bytes);
    const auto domid = host_->start(XENOPOLIS_GUEST_DIR "/ramdisk", "", 4, path);
    ASSERT_FALSE(domid.has_value());
    EXPECT_EQ(domid.error().code, EFBIG);
    EXPECT_THAT(domid.error().what, HasSubstr("ramdisk"));
  }
  std::filesystem::remove(path);
}

TEST_P(RunnerTest, PausedGuestDoesNotRunAndFindsItsEventsAfterwards) {
  const DomId domid = start("citizen", "beat_ms=1");
  const DomId spinning = start("spin");
  testing::FakeStore& store = host_->store(domid);
  ASSERT_TRUE(host_->run_until([&] { return store.read("data/state") == "running"; }));
  const auto port = static_cast<Port>(std::stoul(store.read("device/vif/0/event-channel")));
  const Port ours = host_->dom0().bind_interdomain(domid, port).value();
  int answers = 0;
  host_->on_dom0_event = [&](Port from) { answers += from == ours; };
  let_run(20 * kMs);
  const auto runstate = [&](DomId of) { return host_->record(of).runstate.load(); };
  EXPECT_EQ(runstate(spinning), RUNSTATE_runnable) << "it has had its slice";
  EXPECT_TRUE(host_->run_until([&] { return runstate(domid) == RUNSTATE_blocked; })) << "between its beats";

  for (uint32_t slot = 0; slot < 2; ++slot) host_->runner().set_paused(slot, true);
  host_->runner().set_paused(0, true);  // twice is once
  const auto exits = [&](DomId of) { return host_->record(of).exits.load(); };
  const uint64_t before = exits(domid), spun = exits(spinning);
  answers = 0;
  ASSERT_TRUE(host_->dom0().send(ours).has_value());
  let_run(30 * kMs);
  EXPECT_EQ(exits(domid), before);
  EXPECT_EQ(exits(spinning), spun);
  EXPECT_EQ(runstate(spinning), RUNSTATE_offline);
  EXPECT_EQ(answers, 0);

  host_->runner().set_paused(0, false);
  host_->runner().set_paused(0, false);
  EXPECT_TRUE(host_->run_until([&] { return answers == 1; }));
  EXPECT_EQ(exits(spinning), spun);
  host_->runner().set_paused(1, false);
  EXPECT_TRUE(host_->run_until([&] { return exits(spinning) > spun; }));
}

TEST_P(RunnerTest, NmiEndsABlockIfTheGuestHasAHandler) {
  const DomId deaf = start("spin");
  let_run(10 * kMs);
  EXPECT_FALSE(host_->runner().raise_nmi(0));
  host_->destroy(deaf);

  const DomId domid = start("nmi", "wait_nmi");
  ASSERT_TRUE(host_->run_until([&] { return host_->console(domid).find("waits") != std::string::npos; }));
  let_run(10 * kMs);
  EXPECT_FALSE(host_->ended(domid));
  EXPECT_TRUE(host_->runner().raise_nmi(0));
  ASSERT_TRUE(host_->run_until_ended(domid));
  EXPECT_THAT(host_->console(domid), HasSubstr("PASS nmi"));
}

TEST_P(RunnerTest, FullCellOfCitizensComesUpAndItsIdleDomainsCostNoExits) {
  std::vector<DomId> domids;
  for (uint32_t i = 0; i < machine::kVcpusPerDoorbell; ++i) domids.push_back(start("citizen", "beat_ms=100000"));
  ASSERT_TRUE(host_->run_until([&] {
    return std::all_of(domids.begin(), domids.end(),
                       [&](DomId domid) { return host_->store(domid).read("data/state") == "running"; });
  }));
  let_run(20 * kMs);
  const uint64_t before = host_->record(domids[17]).exits.load();
  let_run(100 * kMs);
  EXPECT_EQ(host_->record(domids[17]).exits.load(), before);
}

TEST_P(RunnerTest, CrashIsReportedAndTheNeighbourGoesOn) {
  const DomId neighbour = start("timer");
  const DomId domid = start("spin");
  // An instruction pointer in the void: the guest has no handler for what follows.
  ASSERT_TRUE(host_->run_until([&] { return host_->console(domid).find("spin begins") != std::string::npos; }));
  const machine::DomainMemory& memory = machine::memory_of(domid);
  for (Gfn gfn = 1; gfn < 4; ++gfn) std::memset(memory.page(gfn), 0x0f, kPageSize);  // 0f 0f: no instruction
  ASSERT_TRUE(host_->run_until_ended(domid));
  EXPECT_EQ(host_->end_of(domid).reason, static_cast<uint32_t>(SHUTDOWN_crash));
  EXPECT_THAT(host_->end_of(domid).text, HasSubstr("exception 6"));
  EXPECT_EQ(host_->record(domid).state.load(), domain::State::kShutdown);
  ASSERT_TRUE(host_->run_until_ended(neighbour));
  EXPECT_THAT(host_->console(neighbour), HasSubstr("PASS timer"));
}

TEST_P(RunnerTest, Dom0IsToldWhenADomainHasShutDownOrCrashed) {
  const Port exception = host_->dom0().bind_virq(VIRQ_DOM_EXC).value();
  host_->run_until([] { return true; });
  int told = 0;
  std::vector<domain::State> states;
  std::vector<DomId> domids{start("hello")};
  host_->on_dom0_event = [&](Port port) {
    if (port != exception) return;
    ++told;
    states.push_back(host_->record(domids.back()).state.load());
  };
  ASSERT_TRUE(host_->run_until([&] { return told == 1; })) << "a shutdown";
  domids.push_back(start("spin"));
  ASSERT_TRUE(host_->run_until([&] { return host_->console(domids[1]).find("spin begins") != std::string::npos; }));
  const machine::DomainMemory& memory = machine::memory_of(domids[1]);
  for (Gfn gfn = 1; gfn < 4; ++gfn) std::memset(memory.page(gfn), 0x0f, kPageSize);  // 0f 0f: no instruction
  ASSERT_TRUE(host_->run_until([&] { return told == 2; })) << "a crash";
  // Whoever is told finds the domain ended.
  for (const domain::State state : states) EXPECT_EQ(state, domain::State::kShutdown);
}

TEST_P(RunnerTest, SlotOfADestroyedDomainIsFreeForTheNext) {
  for (int i = 0; i < 10; ++i) {
    const DomId spinning = start("spin"), waiting = start("citizen");
    ASSERT_TRUE(host_->run_until([&] { return host_->store(waiting).read("data/state") == "running"; }));
    EXPECT_TRUE(host_->runner().occupied(0));
    EXPECT_TRUE(host_->runner().occupied(1));
    host_->destroy(spinning);
    host_->destroy(waiting);
    EXPECT_FALSE(host_->runner().occupied(0));
    EXPECT_FALSE(host_->runner().occupied(1));
  }
}

TEST_P(RunnerTest, ImageThatDoesNotFitIsRefusedAndNothingRuns) {
  const auto domid = host_->start(XENOPOLIS_GUEST_DIR "/nonexistent");
  ASSERT_FALSE(domid);
  EXPECT_EQ(domid.error().code, ENOENT);
  EXPECT_FALSE(host_->runner().occupied(0));
}

}  // namespace
}  // namespace xenopolis::vcpu
