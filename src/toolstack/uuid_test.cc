#include "toolstack/uuid.h"

#include <gtest/gtest.h>

namespace xenopolis::toolstack {
namespace {

TEST(UuidTest, TextAndBytesAreTheSameInBothDirections) {
  const std::string text = "00112233-4455-6677-8899-aabbccddeeff";
  const Result<Uuid> uuid = parse_uuid(text);
  ASSERT_TRUE(uuid);
  EXPECT_EQ((*uuid)[0], 0x00);
  EXPECT_EQ((*uuid)[15], 0xff);
  EXPECT_EQ(to_text(*uuid), text);
  EXPECT_EQ(parse_uuid("00112233-4455-6677-8899-AABBCCDDEEFF").value(), *uuid);
}

TEST(UuidTest, WhatIsNoUuidIsRefused) {
  for (const char* text : {"", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeeff0",
                           "001122334-455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddeefg",
                           "+0112233-4455-6677-8899-aabbccddeeff", "0x112233-4455-6677-8899-aabbccddeeff",
                           "00112233445566778899aabbccddeeff0000"}) {
    const Result<Uuid> uuid = parse_uuid(text);
    ASSERT_FALSE(uuid) << text;
    EXPECT_EQ(uuid.error().code, EINVAL);
  }
}

TEST(UuidTest, RandomOnesDifferAndSayThatTheyAreRandom) {
  const Uuid one = random_uuid(), other = random_uuid();
  EXPECT_NE(one, other);
  EXPECT_EQ(to_text(one)[14], '4');
  EXPECT_TRUE(std::string("89ab").find(to_text(one)[19]) != std::string::npos);
}

}  // namespace
}  // namespace xenopolis::toolstack
