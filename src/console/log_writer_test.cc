#include "console/log_writer.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

#include "base/fault_point.h"
#include "console/testing/log_check.h"
#include "console/testing/log_session.h"

namespace xenopolis::console {
namespace {

namespace fs = std::filesystem;

size_t open_descriptors() {
  return static_cast<size_t>(std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator()));
}

class LogWriterTest : public testing::Test {
 protected:
  LogWriterTest() {
    setenv("TZ", "UTC", 1);
    tzset();
  }

  LogOptions options() const { return {.directory = directory_.path()}; }
  std::string log_of(const std::string& name) const { return directory_.log_of(name); }
  fs::path path(const std::string& file) const { return directory_.path() / file; }
  // All that the log has, rotated or not.
  std::string whole_log_of(const std::string& name) const { return whole_log(directory_.path(), name); }
  static std::string whole_log(const fs::path& directory, const std::string& name) {
    std::string text;
    for (int number = 99; number >= 0; --number) {
      std::ifstream file(directory / (name + ".log" + (number == 0 ? "" : "." + std::to_string(number))));
      text += std::string(std::istreambuf_iterator<char>(file), {});
    }
    return text;
  }

  TemporaryDirectory directory_;
};

TEST_F(LogWriterTest, ABatchIsWrittenFiftyMillisecondsAfterItsFirstByte) {
  LogSession session(options());
  session.attach(1, "web");
  session.say(1, "one ");
  session.pass_ms(30);
  session.say(1, "two ");
  session.pass_ms(19);
  session.log().turn();
  EXPECT_FALSE(fs::exists(path("web.log")));
  session.pass_ms(1);
  session.log().turn();
  EXPECT_EQ(log_of("web"), "one two ");
  session.say(1, "three");
  session.log().turn();
  EXPECT_EQ(log_of("web"), "one two ");
  session.pass_ms(50);
  session.log().turn();
  EXPECT_EQ(log_of("web"), "one two three");
}

TEST_F(LogWriterTest, TheLoopWakesForADeadline) {
  LogSession session(options());
  session.attach(1, "web");
  const MonotonicClock clock;
  for (int i = 0; i < 3; ++i) {
    session.say(1, "x");
    session.log().turn();
    // The session's clock is far behind that of the loop, for which the deadline has passed.
    const uint64_t before_ns = clock.now_ns();
    ASSERT_TRUE(session.loop().run_once(60'000));
    EXPECT_LT(clock.now_ns() - before_ns, 30'000'000'000u);
    session.pass_ms(50);
    session.log().turn();
    EXPECT_EQ(log_of("web").size(), i + 1u);
  }
}

TEST_F(LogWriterTest, SixteenKilobytesDoNotWait) {
  LogSession session(options());
  session.attach(1, "web");
  session.say(1, text_of(1, 0, LogWriter::kBatchBytes - 1));
  session.log().turn();
  EXPECT_EQ(log_of("web"), "");
  session.say(1, text_of(1, LogWriter::kBatchBytes - 1, 1));
  session.log().turn();
  EXPECT_EQ(log_of("web"), text_of(1, 0, LogWriter::kBatchBytes));
}

TEST_F(LogWriterTest, ASilentConsoleHasNoFile) {
  LogSession session(options());
  session.attach(1, "web");
  session.pass_ms(1000);
  session.settle();
  session.detach(1);
  EXPECT_TRUE(fs::is_empty(directory_.path()));
}

TEST_F(LogWriterTest, EachConsoleOfADomainHasItsLog) {
  LogSession session(options());
  session.attach(1, "web");
  session.attach(1, "web", 1);
  session.say(1, "first");
  session.say(1, "second", 1);
  session.log().flush();
  EXPECT_EQ(log_of("web"), "first");
  EXPECT_EQ(log_of("web:1"), "second");
}

TEST_F(LogWriterTest, TheEndOfAConsoleFinishesItsLog) {
  LogSession session(options());
  session.attach(1, "web");
  session.say(1, "last words");
  const size_t descriptors = open_descriptors();
  session.detach(1);
  EXPECT_EQ(log_of("web"), "last words");
  EXPECT_EQ(session.log().open_files(), 0u);
  EXPECT_EQ(open_descriptors(), descriptors);
}

TEST_F(LogWriterTest, TenThousandConsolesShareSixtyFourFiles) {
  constexpr DomId kConsoles = 10'000;
  LogSession session(options());
  for (DomId i = 1; i <= kConsoles; ++i) session.attach(i, fmt::format("d{}", i));
  const size_t descriptors = open_descriptors();
  for (uint64_t round = 0; round < 2; ++round) {
    for (DomId i = 1; i <= kConsoles; ++i) session.say(i, text_line(i, round));
    session.pass_ms(200);
    session.log().turn();
    EXPECT_EQ(open_descriptors() - descriptors, LogWriter::kMostOpen);
  }
  EXPECT_EQ(session.log().open_files(), LogWriter::kMostOpen);
  for (DomId i = 1; i <= kConsoles; ++i) ASSERT_EQ(log_of(fmt::format("d{}", i)), text_of(i, 0, 2 * kTextLine));
  EXPECT_EQ(session.log().lost_bytes(), 0u);
}

TEST_F(LogWriterTest, ATurnWritesFewFilesUnlessTheyAreLate) {
  LogSession session(options());
  const auto files = [&] { return std::distance(fs::directory_iterator(directory_.path()), fs::directory_iterator()); };
  for (DomId i = 1; i <= 100; ++i) {
    session.attach(i, fmt::format("d{}", i));
    session.say(i, "x");
  }
  session.pass_ms(50);
  session.log().turn();
  EXPECT_EQ(files(), LogWriter::kFilesPerTurn);
  session.log().turn();
  EXPECT_EQ(files(), 2 * LogWriter::kFilesPerTurn);
  session.pass_ms(LogWriter::kLateNs / LogSession::kMsNs);
  session.log().turn();
  EXPECT_EQ(files(), 100);
}

TEST_F(LogWriterTest, TheLeastRecentlyWrittenFileIsClosed) {
  LogSession session(options());
  for (DomId i = 0; i <= LogWriter::kMostOpen; ++i) session.attach(i + 1, fmt::format("d{}", i));
  for (DomId i = 0; i < LogWriter::kMostOpen; ++i) session.say(i + 1, "x");
  session.log().flush();
  session.say(1, "x");
  session.log().flush();
  session.say(LogWriter::kMostOpen + 1, "x");
  session.log().flush();
  // A file that is open follows a rename; one that was closed is made anew.
  fs::rename(path("d0.log"), path("d0.moved"));
  fs::rename(path("d1.log"), path("d1.moved"));
  session.say(1, "y");
  session.say(2, "y");
  session.log().flush();
  EXPECT_FALSE(fs::exists(path("d0.log")));
  EXPECT_EQ(log_of("d1"), "y");
  session.log().reopen();
  session.say(1, "z");
  session.log().flush();
  EXPECT_EQ(log_of("d0"), "z");
}

TEST_F(LogWriterTest, LinesAreStampedAlsoThoseThatComeInSeveralBatches) {
  LogOptions stamped = options();
  stamped.with_timestamps = true;
  LogSession session(stamped);
  session.attach(1, "web");
  session.say(1, "one\nlogin: ");
  session.log().flush();
  session.pass_ms(1000);
  session.say(1, "root\n");
  session.stop();
  session.start();
  session.attach(1, "web");
  session.pass_ms(1);
  session.say(1, "$ ");
  session.log().flush();
  EXPECT_EQ(log_of("web"),
            "[2026-11-23 02:10:03.123] one\n"
            "[2026-11-23 02:10:03.123] login: root\n"
            "[2026-11-23 02:10:04.124] $ ");
}

TEST_F(LogWriterTest, FilesAreRotatedBeforeTheyGrowTooLong) {
  LogOptions rotated = options();
  rotated.max_bytes = 10'000;
  rotated.keep = 90;
  LogSession session(rotated);
  session.attach(1, "web");
  for (uint64_t offset = 0; offset < 200'000; offset += 1000) {
    session.say(1, text_of(1, offset, 1000));
    session.pass_ms(10);
    session.log().turn();
  }
  session.log().flush();
  EXPECT_EQ(whole_log_of("web"), text_of(1, 0, 200'000));
  size_t files = 0;
  for (const auto& entry : fs::directory_iterator(directory_.path())) {
    EXPECT_LE(entry.file_size(), 10'000u);
    ++files;
  }
  EXPECT_LE(files, 40u);
}

TEST_F(LogWriterTest, OnlyTheLatestRotatedFilesAreKept) {
  LogOptions rotated = options();
  rotated.max_bytes = 4096;
  rotated.keep = 2;
  LogSession session(rotated);
  session.attach(1, "web");
  for (uint64_t offset = 0; offset < 40'960; offset += 4096) {
    session.say(1, text_of(1, offset, 4096));
    session.log().flush();
  }
  EXPECT_EQ(whole_log_of("web"), text_of(1, 40'960 - 3 * 4096, 3 * 4096));
}

TEST_F(LogWriterTest, ALimitThatNoLineFitsIntoIsRefused) {
  LogOptions small = options();
  small.max_bytes = LogWriter::kLeastFileBytes - 1;
  LogSession session(options());
  EventLoop loop = EventLoop::create().value();
  ManualClock clock;
  EXPECT_EQ(LogWriter::open(session.server(), loop, clock, small).error().code, EINVAL);
}

// What a successor finds of a daemon that is killed.
struct Remains {
  std::string where;
  FileContents memory;
  std::unique_ptr<TemporaryDirectory> logs;
  xencons_interface page;
};
struct Witness {
  LogSession* session;
  const fs::path* logs;
  std::vector<Remains> remains;
};
Witness* witness = nullptr;

void bear_witness(const char* where) {
  if (!std::string_view(where).starts_with("log ")) return;
  auto copy = std::make_unique<TemporaryDirectory>();
  fs::copy(*witness->logs, copy->path(), fs::copy_options::recursive);
  witness->remains.push_back(
      {where, FileContents::of(witness->session->memory()), std::move(copy), witness->session->link().guest(1).page});
}

class KilledLogTest : public LogWriterTest, public testing::WithParamInterface<bool> {
 protected:
  ~KilledLogTest() override { fault_hook = nullptr; }
};

TEST_P(KilledLogTest, NothingIsMissingAndNothingTwiceWhereverTheDaemonIsKilled) {
  constexpr uint64_t kBytes = 60'000;
  LogOptions how = options();
  how.with_timestamps = GetParam();
  how.max_bytes = 20'000;
  how.keep = 50;
  std::ofstream(path("web.log")) << "of the last domain\n";
  std::string expected;
  Witness seen{nullptr, &directory_.path(), {}};
  {
    LogSession session(how);
    seen.session = &session;
    witness = &seen;
    session.attach(1, "web");
    fault_hook = bear_witness;
    for (uint64_t offset = 0; offset < kBytes; offset += 4000) {
      session.say(1, text_of(1, offset, 4000));
      session.log().flush();
    }
    fault_hook = nullptr;
    session.stop();
    expected = whole_log_of("web");
  }
  ASSERT_GT(seen.remains.size(), 30u);
  std::map<std::string, int> where;
  for (const Remains& remains : seen.remains) {
    ++where[remains.where];
    how.directory = remains.logs->path();
    LogSession successor(how, remains.memory.make_file());
    successor.link().guest(1).page = remains.page;
    successor.attach(1, "web");
    const uint64_t written = successor.stream(1).end();
    successor.log().flush();
    for (uint64_t offset = written; offset < kBytes; offset += 4000) {
      successor.say(1, text_of(1, offset, 4000));
      successor.log().flush();
    }
    ASSERT_EQ(whole_log(remains.logs->path(), "web"), expected) << remains.where << ", " << written << " bytes written";
  }
  EXPECT_GE(where["log rotated"], 2);
  EXPECT_GE(where["log appended"], 15);
}

INSTANTIATE_TEST_SUITE_P(Stamps, KilledLogTest, testing::Bool());

TEST_F(LogWriterTest, ALogGoesOnWhereThatOfTheLastDomainEnded) {
  std::ofstream(path("web.log")) << "login: ";
  LogSession session(options());
  session.attach(1, "web");
  session.say(1, "booting\n");
  session.log().flush();
  EXPECT_EQ(log_of("web"), "login: \nbooting\n");
  session.say(1, "login: ");
  session.detach(1);
  session.attach(2, "web");
  session.say(2, "again\n");
  session.log().flush();
  EXPECT_EQ(log_of("web"), "login: \nbooting\nlogin: \nagain\n");
}

TEST_F(LogWriterTest, OthersMayAppendToALogAndEmptyOrDeleteIt) {
  LogSession session(options());
  session.attach(1, "web");
  session.say(1, "one\n");
  session.log().flush();
  std::ofstream(path("web.log"), std::ios::app) << "# noted\n";
  session.say(1, "two\n");
  session.log().flush();
  EXPECT_EQ(log_of("web"), "one\n# noted\ntwo\n");
  fs::resize_file(path("web.log"), 0);
  session.say(1, "three\n");
  session.log().flush();
  EXPECT_EQ(log_of("web"), "three\n");
  fs::remove(path("web.log"));
  session.say(1, "four\n");
  session.log().flush();
  EXPECT_EQ(log_of("web"), "four\n");
}

TEST_F(LogWriterTest, WhatCannotBeWrittenStaysInTheStreamAndIsTriedAgain) {
  LogSession session(options());
  fs::create_directory(path("web.log"));
  session.attach(1, "web");
  session.attach(2, "db");
  session.say(1, text_of(1, 0, 5000));
  session.say(2, "others go on\n");
  session.pass_ms(50);
  session.settle();
  EXPECT_EQ(session.log().failing_logs(), 1u);
  EXPECT_EQ(log_of("db"), "others go on\n");
  session.say(1, text_of(1, 5000, 5000));
  fs::remove(path("web.log"));
  session.pass_ms(999);
  session.settle();
  EXPECT_FALSE(fs::exists(path("web.log")));
  session.pass_ms(1);
  session.settle();
  EXPECT_EQ(log_of("web"), text_of(1, 0, 10'000));
  EXPECT_EQ(session.log().lost_bytes(), 0u);
  EXPECT_EQ(session.log().failing_logs(), 0u);
}

TEST_F(LogWriterTest, WhatTheStreamLostMeanwhileIsMarkedAndCountedOnce) {
  LogSession session(options());
  session.attach(1, "web");
  session.say(1, text_of(1, 0, 1000));
  session.log().flush();
  fs::rename(path("web.log"), path("kept"));
  fs::create_directory(path("web.log"));
  session.log().reopen();
  for (uint64_t offset = 1000; offset < 500'000; offset += 10'000) {
    session.say(1, text_of(1, offset, 10'000));
    session.pass_ms(1000);
    session.settle();
  }
  // A successor knows as well.
  session.stop();
  session.start();
  session.attach(1, "web");
  session.settle();
  fs::remove(path("web.log"));
  fs::rename(path("kept"), path("web.log"));
  session.pass_ms(1000);
  session.settle();
  const LogCheck check = check_log(1, log_of("web"));
  EXPECT_EQ(check.fault, "");
  EXPECT_EQ(check.covered, session.stream(1).end());
  EXPECT_GT(check.dropped, 400'000u);
  EXPECT_EQ(log_of("web").find("bytes dropped", log_of("web").find("bytes dropped") + 1), std::string::npos);
}

TEST_F(LogWriterTest, AStormThatIsReadInTimeLosesNothing) {
  LogSession session(options());
  session.attach(1, "web");
  for (uint64_t offset = 0; offset < 2'000'000; offset += 2000) {
    session.say(1, text_of(1, offset, 2000));
    session.log().turn();
  }
  session.log().flush();
  EXPECT_TRUE(log_of("web") == text_of(1, 0, 2'000'000));
  EXPECT_EQ(session.log().lost_bytes(), 0u);
}

TEST_F(LogWriterTest, AStormThatIsReadTooLateIsMarked) {
  LogSession session(options());
  session.attach(1, "web");
  for (uint64_t offset = 0; offset < 2'000'000; offset += 200'000) {
    session.say(1, text_of(1, offset, 200'000));
    session.log().turn();
  }
  const LogCheck check = check_log(1, log_of("web"));
  EXPECT_EQ(check.fault, "");
  EXPECT_EQ(check.covered, 2'000'000u);
  EXPECT_GT(check.dropped, 0u);
  EXPECT_EQ(session.log().lost_bytes(), check.dropped);
  EXPECT_EQ(session.log().reports(), 1u);
}

TEST_F(LogWriterTest, AConsoleThatEndsWhileItsLogFailsIsMarkedLater) {
  LogSession session(options());
  session.attach(1, "web");
  session.say(1, "one\ntwo");
  session.log().flush();
  fs::rename(path("web.log"), path("kept"));
  fs::create_directory(path("web.log"));
  session.log().reopen();
  session.say(1, "12345");
  session.detach(1);
  EXPECT_EQ(session.log().lost_bytes(), 5u);
  EXPECT_EQ(session.log().failing_logs(), 0u);
  session.settle();
  fs::remove(path("web.log"));
  fs::rename(path("kept"), path("web.log"));
  session.pass_ms(1000);
  session.settle();
  EXPECT_EQ(log_of("web"), "one\ntwo\n[5 bytes dropped]\n");
  session.pass_ms(1000);
  session.settle();
  EXPECT_EQ(log_of("web"), "one\ntwo\n[5 bytes dropped]\n");
}

TEST_F(LogWriterTest, TheNextDomainOfThatNameSaysWhatTheLastOneLost) {
  LogSession session(options());
  fs::create_directory(path("web.log"));
  session.attach(1, "web");
  session.say(1, "12345");
  session.detach(1);
  session.attach(2, "web");
  fs::remove(path("web.log"));
  session.say(2, "again\n");
  session.log().flush();
  session.pass_ms(1000);
  session.settle();
  EXPECT_EQ(log_of("web"), "[5 bytes dropped]\nagain\n");
}

TEST_F(LogWriterTest, FailuresAreReportedOnceAMinute) {
  LogSession session(options());
  for (DomId i = 1; i <= 50; ++i) {
    fs::create_directory(path(fmt::format("d{}.log", i)));
    session.attach(i, fmt::format("d{}", i));
    session.say(i, "x");
  }
  const uint64_t minute = LogWriter::kReportEveryNs / LogSession::kMsNs;
  for (uint64_t ms = 0; ms < minute; ms += 500) {
    session.pass_ms(500);
    session.settle();
    ASSERT_EQ(session.log().reports(), 1u) << ms;
  }
  EXPECT_EQ(session.log().failing_logs(), 50u);
  session.pass_ms(1000);
  session.settle();
  EXPECT_EQ(session.log().reports(), 2u);
}

TEST_F(LogWriterTest, AFewThatAlwaysFailDoNotHoldUpOthers) {
  LogSession session(options());
  for (DomId i = 1; i <= 30; ++i) {
    fs::create_directory(path(fmt::format("d{}.log", i)));
    session.attach(i, fmt::format("d{}", i));
    session.say(i, "x");
  }
  session.log().flush();
  ASSERT_EQ(session.log().failing_logs(), 30u);
  for (DomId i = 6; i <= 30; ++i) fs::remove(path(fmt::format("d{}.log", i)));
  session.pass_ms(1000);
  session.settle();
  EXPECT_EQ(session.log().failing_logs(), 5u);
}

TEST_F(LogWriterTest, ADiskThatStaysFullIsNotTriedForEachLogEverySecond) {
  LogSession session(options());
  for (DomId i = 1; i <= 100; ++i) {
    fs::create_directory(path(fmt::format("d{}.log", i)));
    session.attach(i, fmt::format("d{}", i));
    session.say(i, "x");
  }
  session.log().flush();
  session.pass_ms(1000);
  session.log().turn();
  // What is tried fails and waits another second; what was not tried is due as soon as trying goes on.
  for (DomId i = 1; i <= 100; ++i) fs::remove(path(fmt::format("d{}.log", i)));
  session.settle();
  EXPECT_EQ(session.log().failing_logs(), 100u);
  session.pass_ms(1000);
  session.settle();
  EXPECT_EQ(session.log().failing_logs(), 0u);
}

TEST_F(LogWriterTest, ANameThatLeavesTheDirectoryGetsNoFile) {
  LogSession session(options());
  session.attach(1, "..");
  session.attach(2, "web:1");
  session.say(1, "x");
  session.say(2, "y");
  session.log().flush();
  EXPECT_TRUE(fs::is_empty(directory_.path()));
  EXPECT_EQ(session.log().failing_logs(), 2u);
}

TEST_F(LogWriterTest, AnEndInOrderWritesAll) {
  LogSession session(options());
  session.attach(1, "web");
  session.say(1, "x");
  session.stop();
  EXPECT_EQ(log_of("web"), "x");
}

}  // namespace
}  // namespace xenopolis::console
