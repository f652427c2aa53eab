#include "toolstack/domain_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace xenopolis::toolstack {
namespace {

using domain::EndAction;
using nlohmann::json;

DomainSpec full() {
  DomainSpec spec;
  spec.name = "web-1";
  spec.memory_mib = 128;
  spec.image = "/boot/vmlinuz";
  spec.ramdisk = "/boot/initrd";
  spec.command_line = "console=hvc0 \xc3\xa4";
  spec.max_event_channels = 131'071;
  spec.max_grant_frames = 1;
  spec.consoles = 9;
  spec.uuid = "01234567-89ab-cdef-0123-456789ABCDEF";
  spec.on_poweroff = EndAction::kPreserve;
  spec.on_reboot = EndAction::kDestroy;
  spec.on_watchdog = EndAction::kRestart;
  spec.on_crash = EndAction::kPreserve;
  spec.paused = true;
  return spec;
}

TEST(DomainSpecTest, JsonHoldsEveryMember) {
  const json object = to_json(full());
  EXPECT_EQ(object.size(), 14u);
  const auto again = spec_from_json(json::parse(object.dump()));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(to_json(*again), object);
  EXPECT_EQ(object["on_poweroff"], "preserve");
  EXPECT_EQ(object["memory_mib"], 128);
  const json defaults = to_json(DomainSpec());
  for (const auto& [name, value] : defaults.items()) EXPECT_NE(value, object[name]) << name;
}

TEST(DomainSpecTest, WhatIsLeftOutHasItsDefault) {
  const auto spec = spec_from_json({{"name", "a"}, {"image", "/b"}});
  ASSERT_TRUE(spec);
  DomainSpec expected;
  expected.name = "a";
  expected.image = "/b";
  EXPECT_EQ(to_json(*spec), to_json(expected));
  EXPECT_TRUE(check(*spec));
}

TEST(DomainSpecTest, UnreadableJsonIsRefusedByTheNameOfTheMember) {
  struct Row {
    const char* text;
    const char* complaint;
  } const rows[] = {
      {R"([])", "JSON object"},
      {R"({"image": "/b"})", "name: is missing"},
      {R"({"name": "a"})", "image: is missing"},
      {R"({"name": "a", "image": "/b", "colour": 1})", "colour: no such member"},
      {R"({"name": 7, "image": "/b"})", "name: must be a string"},
      {R"({"name": "a", "image": "/b", "paused": 1})", "paused: must be true or false"},
      {R"({"name": "a", "image": "/b", "memory_mib": "4"})", "memory_mib: must be a number"},
      {R"({"name": "a", "image": "/b", "memory_mib": 4.5})", "memory_mib: must be a number"},
      {R"({"name": "a", "image": "/b", "memory_mib": -1})", "memory_mib: must be a number"},
      {R"({"name": "a", "image": "/b", "memory_mib": 18446744073709551616})", "memory_mib: must be a number"},
      {R"({"name": "a", "image": "/b", "consoles": 4294967296})", "consoles: must be a number from 0 to 4294967295"},
      {R"({"name": "a", "image": "/b", "on_crash": "coredump-destroy"})", "on_crash: \"coredump-destroy\" is none of"},
      {R"({"name": "a", "image": "/b", "on_crash": null})", "on_crash: must be a string"},
  };
  for (const Row& row : rows) {
    const auto spec = spec_from_json(json::parse(row.text));
    ASSERT_FALSE(spec) << row.text;
    EXPECT_EQ(spec.error().code, EINVAL);
    EXPECT_THAT(spec.error().what, ::testing::HasSubstr(row.complaint)) << row.text;
  }
}

TEST(DomainSpecTest, WhatNoHostCouldDoIsRefusedByTheNameOfTheMember) {
  EXPECT_TRUE(check(full()));
  struct Row {
    void (*spoil)(DomainSpec&);
    const char* complaint;
  } const rows[] = {
      {[](DomainSpec& s) { s.name = ""; }, "name: "},
      {[](DomainSpec& s) { s.name = std::string(64, 'a'); }, "name: "},
      {[](DomainSpec& s) { s.name = "a b"; }, "name: \"a b\""},
      {[](DomainSpec& s) { s.name = "Domain-0"; }, "name: Domain-0 is the host itself"},
      {[](DomainSpec& s) { s.name = "\xff"; }, "name: no text"},
      {[](DomainSpec& s) { s.memory_mib = 0; }, "memory_mib: 0 is not in 1 to 524288"},
      {[](DomainSpec& s) { s.memory_mib = 524'289; }, "memory_mib: "},
      {[](DomainSpec& s) { s.image = ""; }, "image: \"\" is not an absolute path"},
      {[](DomainSpec& s) { s.image = "citizen"; }, "image: \"citizen\" is not an absolute path"},
      {[](DomainSpec& s) { s.image = "/" + std::string(511, 'a'); }, "image: a path of 512 bytes; at most 511"},
      {[](DomainSpec& s) { s.image = "/\xc3"; }, "image: the path must be UTF-8"},
      {[](DomainSpec& s) { s.ramdisk = "initrd"; }, "ramdisk: "},
      {[](DomainSpec& s) { s.command_line = std::string(1024, 'a'); }, "command_line: 1024 bytes; at most 1023"},
      {[](DomainSpec& s) { s.command_line = std::string("a\0b", 3); }, "command_line: must be UTF-8"},
      {[](DomainSpec& s) { s.max_event_channels = 1; }, "max_event_channels: 1 "},
      {[](DomainSpec& s) { s.max_event_channels = 131'072; }, "max_event_channels: 131072"},
      {[](DomainSpec& s) { s.max_grant_frames = 0; }, "max_grant_frames: 0"},
      {[](DomainSpec& s) { s.max_grant_frames = 65; }, "max_grant_frames: 65"},
      {[](DomainSpec& s) { s.consoles = 10; }, "consoles: 10"},
      {[](DomainSpec& s) { s.uuid = "01234567-89ab-cdef-0123-456789abcde"; }, "uuid: "},
      {[](DomainSpec& s) { s.uuid = "01234567-89ab-cdef-0123_456789abcdef"; }, "uuid: "},
      {[](DomainSpec& s) { s.uuid = "g1234567-89ab-cdef-0123-456789abcdef"; }, "uuid: "},
  };
  for (const Row& row : rows) {
    DomainSpec spec = full();
    row.spoil(spec);
    const Status checked = check(spec);
    ASSERT_FALSE(checked) << row.complaint;
    EXPECT_EQ(checked.error().code, EINVAL);
    EXPECT_THAT(checked.error().what, ::testing::StartsWith(row.complaint));
  }
}

}  // namespace
}  // namespace xenopolis::toolstack
