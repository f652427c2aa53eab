#include "machine/trace_ring.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "machine/machine.h"

namespace xenopolis::machine {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

class TraceRingTest : public testing::Test {
 protected:
  static void append(DomId domid, uint32_t number, uint64_t now_ns = kSecond) {
    TraceRecord record{};
    record.number = number;
    append_trace(domid, record, now_ns);
  }
  static std::vector<uint32_t> numbers(TraceReader& reader, uint64_t now_ns = kSecond) {
    std::vector<uint32_t> found;
    for (const TraceRecord& record : reader.read(now_ns)) found.push_back(record.number);
    return found;
  }
  Machine machine_ = Machine::create(40 * kGiB).value();
};

TEST_F(TraceRingTest, RecordsArriveWhileSomebodyReadsAndNoLonger) {
  EXPECT_FALSE(is_traced(5));
  append(5, 1);
  {
    TraceReader reader = TraceReader::start(5, kSecond).value();
    EXPECT_TRUE(is_traced(5));
    EXPECT_FALSE(is_traced(6));
    append(5, 2);
    append(6, 3);
    append(5, 4);
    EXPECT_EQ(numbers(reader), (std::vector<uint32_t>{2, 4}));
    EXPECT_TRUE(numbers(reader).empty());
  }
  EXPECT_FALSE(is_traced(5));
}

TEST_F(TraceRingTest, ADomainHasOneReader) {
  const TraceReader reader = TraceReader::start(5, kSecond).value();
  const auto second = TraceReader::start(5, kSecond);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, EBUSY);
  EXPECT_TRUE(TraceReader::start(6, kSecond));
}

TEST_F(TraceRingTest, TracesAreLimited) {
  std::vector<TraceReader> readers;
  for (uint32_t i = 0; i < kTraceCount; ++i) {
    readers.push_back(TraceReader::start(static_cast<DomId>(i + 1), kSecond).value());
  }
  EXPECT_EQ(TraceReader::start(100, kSecond).error().code, EBUSY);
  EXPECT_FALSE(is_traced(100));
  readers.pop_back();
  EXPECT_TRUE(TraceReader::start(100, kSecond));
}

TEST_F(TraceRingTest, AFullRingDropsAndCounts) {
  TraceReader reader = TraceReader::start(5, kSecond).value();
  for (uint32_t i = 0; i < Trace::kRecords + 3; ++i) append(5, i);
  EXPECT_EQ(reader.dropped(), 3u);
  EXPECT_EQ(numbers(reader).size(), Trace::kRecords);
  append(5, 7);
  EXPECT_EQ(numbers(reader), std::vector<uint32_t>{7});
}

TEST_F(TraceRingTest, TheReadersDeathEndsTheTrace) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto reader = TraceReader::start(5, kSecond);
    kill(getpid(), SIGKILL);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_TRUE(is_traced(5));
  for (uint32_t i = 0; i < Trace::kRecords; ++i) append(5, i);
  append(5, 0, kSecond + kReaderPatienceNs);
  EXPECT_TRUE(is_traced(5)) << "it might only be slow";
  append(5, 0, kSecond + kReaderPatienceNs + 1);
  EXPECT_FALSE(is_traced(5));
  EXPECT_TRUE(TraceReader::start(5, kSecond));
}

TEST_F(TraceRingTest, WhoComesAfterADeadReaderTakesItsPlace) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto reader = TraceReader::start(5, kSecond);
    kill(getpid(), SIGKILL);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_FALSE(TraceReader::start(5, 2 * kSecond));
  EXPECT_TRUE(TraceReader::start(5, 2 * kSecond + kReaderPatienceNs));
}

TEST_F(TraceRingTest, AReaderThatDiedWhileItBeganLeavesNothingBehind) {
  traced_word(5).store(3);  // its ring is nobody's
  TraceReader reader = TraceReader::start(5, kSecond).value();
  append(5, 1);
  EXPECT_EQ(numbers(reader), std::vector<uint32_t>{1});
}

TEST_F(TraceRingTest, ACellThatDiesWithTheLockHoldsUpNobody) {
  TraceReader reader = TraceReader::start(5, kSecond).value();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    trace_at(0).lock.lock();
    kill(getpid(), SIGKILL);
  }
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  append(5, 1);
  EXPECT_EQ(numbers(reader), std::vector<uint32_t>{1});
}

// Else a cell that writes at that moment would drop a record.
TEST_F(TraceRingTest, AReaderThatLooksTakesNoLock) {
  TraceReader reader = TraceReader::start(5, kSecond).value();
  append(5, 1);
  trace_at(0).lock.lock();
  EXPECT_EQ(numbers(reader), std::vector<uint32_t>{1});
  EXPECT_TRUE(reader.alive());
  trace_at(0).lock.unlock();
}

TEST_F(TraceRingTest, AReaderKnowsThatItsRingWasTakenAway) {
  const TraceReader late = TraceReader::start(5, kSecond).value();
  for (uint32_t i = 0; i < Trace::kRecords; ++i) append(5, i);
  append(5, 0, kSecond + kReaderPatienceNs + 1);
  EXPECT_FALSE(late.alive());
}

TEST_F(TraceRingTest, AStoppedReaderDoesNotHoldUpTheCell) {
  const TraceReader reader = TraceReader::start(5, kSecond).value();
  trace_at(0).lock.lock();
  append(5, 1);
  trace_at(0).lock.unlock();
  EXPECT_EQ(reader.dropped(), 1u);
}

}  // namespace
}  // namespace xenopolis::machine
