#include "config/name_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace xenopolis::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names(const std::string& name_template, uint32_t count, uint32_t start = 1) {
  toolstack::DomainSpec spec;
  spec.name = name_template;
  const auto specs = multiply(spec, count, start);
  if (!specs) return {"error", specs.error().what};
  std::vector<std::string> all;
  for (const auto& one : *specs) all.push_back(one.name);
  return all;
}

TEST(NameTemplateTest, NumbersStandWhereTheBracesDo) {
  EXPECT_THAT(names("web-{}", 3), ElementsAre("web-1", "web-2", "web-3"));
  EXPECT_THAT(names("{}.web", 2, 9), ElementsAre("9.web", "10.web"));
  EXPECT_THAT(names("web-{:04}-a", 2, 9999), ElementsAre("web-9999-a", "web-10000-a"));
  EXPECT_THAT(names("web-{:02}", 1, 0), ElementsAre("web-00"));
}

TEST(NameTemplateTest, OneDomainKeepsItsNameAndSeveralGetNumbers) {
  EXPECT_THAT(names("web", 1, 5), ElementsAre("web"));
  EXPECT_THAT(names("web", 2, 5), ElementsAre("web-5", "web-6"));
}

TEST(NameTemplateTest, OtherBracesAreErrors) {
  for (const char* bad :
       {"{", "}", "}{", "{}{}", "{}}", "{{}}", "{:4}", "{:0}", "{:00}", "{:010}", "{:04x}", "{0}", "{n}"}) {
    const auto name = expand_name(bad, 1);
    ASSERT_FALSE(name) << bad << " became " << *name;
    EXPECT_THAT(name.error().what, HasSubstr("for a number")) << bad;
  }
}

TEST(NameTemplateTest, WhatComesOutMustBeAName) {
  EXPECT_THAT(names("a b", 1), ElementsAre("error", HasSubstr("\"a b\"; must be 1 to 63 characters")));
  EXPECT_THAT(names(std::string(62, 'a') + "{}", 9)[0], std::string(62, 'a') + "1");
  EXPECT_THAT(names(std::string(62, 'a') + "{}", 10), ElementsAre("error", HasSubstr("must be 1 to 63 characters")));
}

TEST(NameTemplateTest, CountsHaveLimitsAndUuidsOneOwner) {
  EXPECT_EQ(names("a", 0)[0], "error");
  EXPECT_EQ(names("a", kMaxCount).size(), kMaxCount);
  EXPECT_EQ(names("a", kMaxCount + 1)[0], "error");
  EXPECT_EQ(names("a", 2, UINT32_MAX - 1)[0], "error");
  toolstack::DomainSpec spec;
  spec.name = "a";
  spec.uuid = "01234567-89ab-cdef-0123-456789abcdef";
  EXPECT_TRUE(multiply(spec, 1));
  const auto two = multiply(spec, 2);
  ASSERT_FALSE(two);
  EXPECT_THAT(two.error().what, HasSubstr("uuid: 2 domains cannot have one"));
}

}  // namespace
}  // namespace xenopolis::config
