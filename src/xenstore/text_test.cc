#include "xenstore/text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace xenopolis::xenstore {
namespace {

TEST(Text, HoldsAnyBytesOfAnyLength) {
  for (size_t size = 0; size < 100; ++size) {
    std::string bytes(size, 'x');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7);
    const Text text{std::string_view(bytes)};
    EXPECT_EQ(text.view(), bytes);
    EXPECT_EQ(text.size(), size);
    EXPECT_EQ(text.empty(), size == 0);
  }
}

TEST(Text, CopiesShareLongOnesAndChangeForThemselves) {
  const std::string old(40, 'o');
  Text one{std::string_view(old)};
  Text other = one;
  EXPECT_EQ(one.data(), other.data());
  one = std::string_view("new");
  EXPECT_EQ(one.view(), "new");
  EXPECT_EQ(other.view(), old);
  const Text& same = other;
  other = same;
  EXPECT_EQ(other.view(), old);
  other = other.view().substr(1);  // a part of itself
  EXPECT_EQ(other.view(), old.substr(1));
  const Text moved = std::move(other);
  EXPECT_EQ(moved.view(), old.substr(1));
}

TEST(Text, AgreesWithStringsUnderRandomAssignments) {
  std::mt19937 random(1);
  std::vector<Text> texts(20);
  std::vector<std::string> strings(20);
  for (int step = 0; step < 20'000; ++step) {
    const size_t to = random() % 20, from = random() % 20;
    switch (random() % 3) {
      case 0:
        strings[to] = std::string(random() % 30, static_cast<char>('a' + random() % 26));
        texts[to] = std::string_view(strings[to]);
        break;
      case 1:
        strings[to] = strings[from];
        texts[to] = texts[from];
        break;
      default:
        if (to == from) break;
        strings[to] = std::exchange(strings[from], {});
        texts[to] = std::move(texts[from]);
    }
    EXPECT_EQ(texts[to].view(), strings[to]);
    EXPECT_EQ(texts[from].view(), strings[from]);
  }
}

}  // namespace
}  // namespace xenopolis::xenstore
