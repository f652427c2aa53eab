#include "machine/message_ring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "machine/machine.h"

namespace xenopolis::machine {
namespace {

using ::testing::ElementsAre;

Message message(std::string text, uint64_t time_ns = 0, MessageSource source = MessageSource::kHost) {
  return {.source = source, .time_ns = time_ns, .pid = 1, .domid = {}, .origin = "test", .text = std::move(text)};
}

class MessageRingTest : public testing::Test {
 protected:
  std::vector<std::string> read() {
    std::vector<std::string> texts;
    for (const Message& found : reader_.read()) texts.push_back(found.text);
    return texts;
  }
  Machine machine_ = Machine::create(40 * kGiB).value();
  MessageReader reader_;
};

TEST_F(MessageRingTest, LinesComeBackAsTheyWere) {
  append_message({.source = MessageSource::kGuest,
                  .level = log::Level::kWarn,
                  .time_ns = 12,
                  .pid = 34,
                  .domid = 56,
                  .origin = "web-1",
                  .text = "hello"});
  const std::vector<Message> messages = reader_.read();
  ASSERT_EQ(messages.size(), 1u);
  const Message& back = messages.front();
  EXPECT_EQ(back.source, MessageSource::kGuest);
  EXPECT_EQ(back.level, log::Level::kWarn);
  EXPECT_EQ(back.time_ns, 12u);
  EXPECT_EQ(back.pid, 34);
  EXPECT_EQ(back.domid, 56);
  EXPECT_EQ(back.origin, "web-1");
  EXPECT_EQ(back.text, "hello");
}

TEST_F(MessageRingTest, ReadersGetEachLineOnceInTheOrderOfTime) {
  append_message(message("second", 2));
  append_message(message("first", 1, MessageSource::kGuest));
  EXPECT_THAT(read(), ElementsAre("first", "second"));
  EXPECT_TRUE(read().empty());
  append_message(message("third", 3));
  EXPECT_THAT(read(), ElementsAre("third"));
}

TEST_F(MessageRingTest, TheNewestStayAndTheLostAreCounted) {
  for (uint64_t i = 0; i < MessageRing::kSlots + 10; ++i) append_message(message(std::to_string(i), i));
  const std::vector<std::string> texts = read();
  EXPECT_EQ(texts.size(), MessageRing::kSlots);
  EXPECT_EQ(texts.front(), "10");
  EXPECT_EQ(reader_.lost(), 10u);
}

TEST_F(MessageRingTest, WhatIsClearedIsGoneButNotLost) {
  append_message(message("old"));
  clear_messages();
  append_message(message("new"));
  EXPECT_THAT(read(), ElementsAre("new"));
  EXPECT_EQ(reader_.lost(), 0u);
}

TEST_F(MessageRingTest, GuestsDoNotPushOutWhatTheHostSays) {
  append_message(message("important"));
  for (uint64_t i = 0; i < 2 * MessageRing::kSlots; ++i) append_message(message("noise", 1, MessageSource::kGuest));
  EXPECT_EQ(read().front(), "important");
}

TEST_F(MessageRingTest, NothingThatATerminalWouldObeyAndNothingTooLong) {
  append_message(message("a\x1b[2Jb\nc\x7f"));
  append_message(message(std::string(kMaxText + 1, 'x')));
  const std::vector<std::string> texts = read();
  EXPECT_EQ(texts[0], "a?[2Jb?c?");
  EXPECT_EQ(texts[1], std::string(kMaxText, 'x'));
}

TEST_F(MessageRingTest, WhoDiesInTheMiddleLosesItsLineOnly) {
  append_message(message("before"));
  message_ring(MessageSource::kHost).next.fetch_add(1);  // one died before it marked its slot
  MessageRing& ring = message_ring(MessageSource::kHost);
  const uint64_t ticket = ring.next.fetch_add(1);
  ring.slots[ticket].state.store(2 * ticket + 1);  // one while it wrote
  append_message(message("after"));
  EXPECT_THAT(read(), ElementsAre("before"));
  std::vector<std::string> texts;
  for (unsigned i = 0; i < 2 * MessageReader::kPatience && texts.empty(); ++i) texts = read();
  EXPECT_THAT(texts, ElementsAre("after"));
  EXPECT_EQ(reader_.lost(), 2u);
  // The next one to come to the dead one's slot takes it.
  for (uint64_t i = 0; i < MessageRing::kSlots; ++i) append_message(message("again"));
  EXPECT_EQ(read().size(), MessageRing::kSlots);
}

TEST_F(MessageRingTest, WritersThatAreKilledAtAnyTimeLeaveTheRingInOrder) {
  for (int round = 0; round < 20; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (;;) append_message(message("from a child that is killed"));
    }
    // Until it writes, and some microseconds more, others each time.
    const uint64_t begin = message_ring(MessageSource::kHost).next.load();
    while (message_ring(MessageSource::kHost).next.load() < begin + static_cast<uint64_t>(round) * 17 + 1) {
    }
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    reader_.skip_to_end();
    append_message(message("alive"));
    EXPECT_THAT(read(), ElementsAre("alive"));
  }
}

TEST_F(MessageRingTest, LinesAreNeverTorn) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> writers;
  for (char letter : {'a', 'b'}) {
    writers.emplace_back([&, letter] {
      while (!stop) append_message(message(std::string(300, letter)));
    });
  }
  uint64_t whole = 0;
  while (whole < 20'000) {
    for (const std::string& text : read()) {
      ++whole;
      ASSERT_TRUE(text == std::string(300, 'a') || text == std::string(300, 'b')) << text;
    }
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
}

TEST_F(MessageRingTest, WhatAProcessLogsLandsThere) {
  log::warn(log::About{9}, "something {}", "bad");
  log::debug("too small");
  log::write_guests(10, "web-1", "panic");
  const std::vector<Message> messages = reader_.read();
  ASSERT_EQ(messages.size(), 2u);
  EXPECT_EQ(messages[0].text, "something bad");
  EXPECT_EQ(messages[0].level, log::Level::kWarn);
  EXPECT_EQ(messages[0].domid, 9);
  EXPECT_GT(messages[0].time_ns, 1'700'000'000'000'000'000u);
  EXPECT_EQ(messages[1].source, MessageSource::kGuest);
  EXPECT_EQ(messages[1].origin, "web-1");
  EXPECT_EQ(messages[1].text, "panic");
}

}  // namespace
}  // namespace xenopolis::machine
