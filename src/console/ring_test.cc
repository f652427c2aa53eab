#include "console/ring.h"

#include <gtest/gtest.h>

#include <thread>

#include "console/testing/fake_guest.h"

namespace xenopolis::console {
namespace {

class ConsoleRingTest : public testing::Test {
 protected:
  std::string take() {
    const ConsoleRing::Output output = ring_.output();
    const std::string text = std::string(output.first) + std::string(output.second);
    ring_.free(static_cast<uint32_t>(text.size()));
    return text;
  }

  FakeGuest guest_;
  ConsoleRing ring_{guest_.page, 0};
};

TEST_F(ConsoleRingTest, WhatTheGuestWroteComesOutOnceAndInOrder) {
  guest_.write("first ");
  guest_.write("second");
  EXPECT_EQ(take(), "first second");
  EXPECT_EQ(take(), "");
  guest_.write("third");
  EXPECT_EQ(take(), "third");
}

TEST_F(ConsoleRingTest, WhatIsNotFreedStaysAndTheGuestCannotOverwriteIt) {
  const std::string full(kOutputBytes, 'x');
  EXPECT_EQ(guest_.write(full + "y"), kOutputBytes);
  EXPECT_EQ(ring_.output().first, full);
  EXPECT_EQ(guest_.write("z"), 0u);
  EXPECT_EQ(take(), full);
  EXPECT_EQ(guest_.write("z"), 1u);
}

TEST_F(ConsoleRingTest, TextThatWrapsAroundTheEndIsWhole) {
  guest_.write(std::string(kOutputBytes - 8, '.'));
  take();
  guest_.write("across the end of the ring");
  EXPECT_EQ(take(), "across the end of the ring");
}

TEST_F(ConsoleRingTest, IndicesMayWrapAroundZero) {
  guest_.page.out_prod = guest_.page.out_cons = ~0u - 2;
  ring_ = ConsoleRing(guest_.page, ConsoleRing::consumed_by_page(guest_.page));
  guest_.write("abcdefgh");
  EXPECT_EQ(take(), "abcdefgh");
}

TEST_F(ConsoleRingTest, AnIndexBeyondTheRingIsRecognisedAndSkippedTo) {
  guest_.page.out_prod = kOutputBytes + 1;
  const ConsoleRing::Output output = ring_.output();
  EXPECT_FALSE(output.is_valid);
  ring_.skip_to(output.produced);
  EXPECT_EQ(guest_.page.out_cons, kOutputBytes + 1);
  guest_.write("good again");
  EXPECT_EQ(take(), "good again");
}

TEST_F(ConsoleRingTest, OurIndicesAreNotReadBackFromTheGuest) {
  guest_.write("text");
  guest_.page.out_cons = 4711;
  EXPECT_EQ(take(), "text");
  EXPECT_EQ(guest_.page.out_cons, 4u);
  guest_.page.in_prod = 4711;
  EXPECT_EQ(ring_.write("abc"), 3u);
  EXPECT_EQ(guest_.page.in_prod, 3u);
}

TEST_F(ConsoleRingTest, InputGoesInAsFarAsThereIsRoomAndOnWhenTheGuestHasRead) {
  const std::string input(kInputBytes + 10, 'i');
  EXPECT_EQ(ring_.write(input), kInputBytes);
  EXPECT_EQ(ring_.room(), 0u);
  EXPECT_EQ(ring_.write("more"), 0u);
  EXPECT_EQ(guest_.read(10), input.substr(0, 10));
  EXPECT_EQ(ring_.write("more"), 4u);
  EXPECT_EQ(guest_.read(), input.substr(10, kInputBytes - 10) + "more");
}

TEST_F(ConsoleRingTest, AnImpossibleInputIndexMeansNoRoom) {
  guest_.page.in_cons = 17;  // ahead of what was written
  EXPECT_EQ(ring_.write("x"), 0u);
  guest_.page.in_cons = 0;
  EXPECT_EQ(ring_.write("x"), 1u);
}

TEST_F(ConsoleRingTest, AGuestThatWritesMeanwhileLosesNothing) {
  constexpr size_t kBytes = 1'000'000;
  std::thread writer([&] {
    for (size_t written = 0; written < kBytes;) {
      const char next = static_cast<char>('a' + written % 23);
      written += guest_.write(std::string_view(&next, 1));
    }
  });
  std::string text;
  while (text.size() < kBytes) text += take();
  writer.join();
  size_t wrong = 0;
  for (size_t i = 0; i < kBytes; ++i) wrong += text[i] != static_cast<char>('a' + i % 23);
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace xenopolis::console
