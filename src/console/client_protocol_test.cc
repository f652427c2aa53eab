#include "console/client_protocol.h"

#include <gtest/gtest.h>

namespace xenopolis::console {
namespace {

TEST(ClientRequestTest, WhatIsWrittenIsWhatIsRead) {
  ClientRequest request;
  request.domain = "web";
  request.console = 3;
  request.past = Past::kSince;
  request.since_ms = 1'795'000'000'123;
  request.follow = false;
  request.write = request.force = true;
  const std::string line = to_line(request);
  ASSERT_EQ(line.back(), '\n');
  const auto read = parse_request(line);
  ASSERT_TRUE(read);
  EXPECT_EQ(to_line(*read), line);
  EXPECT_EQ(read->since_ms, request.since_ms);
  EXPECT_TRUE(read->force);

  ClientRequest watch;
  watch.op = ClientRequest::Op::kWatch;
  watch.patterns = {"web*", "7"};
  watch.past = Past::kNone;
  const auto read_watch = parse_request(to_line(watch));
  ASSERT_TRUE(read_watch);
  EXPECT_EQ(read_watch->patterns, watch.patterns);
  EXPECT_EQ(read_watch->past, Past::kNone);
}

TEST(ClientRequestTest, NonsenseIsRefusedWithWhatIsWrong) {
  const std::pair<const char*, const char*> rows[] = {
      {"", "JSON object"},
      {"[]", "JSON object"},
      {"{", "JSON object"},
      {"\xff\xfe", "JSON object"},
      {R"({"op":"dance"})", "dance"},
      {R"({"op":1})", "op"},
      {R"({"op":"attach"})", "domain"},
      {R"({"op":"attach","domain":7})", "domain"},
      {R"({"op":"attach","domain":"a","console":-1})", "console"},
      {R"({"op":"attach","domain":"a","console":65536})", "console"},
      {R"({"op":"attach","domain":"a","console":1.5})", "console"},
      {R"({"op":"attach","domain":"a","past":"some"})", "past"},
      {R"({"op":"attach","domain":"a","force":"yes"})", "force"},
      {R"({"op":"watch","past":"from"})", "past"},
      {R"({"op":"watch","patterns":"a"})", "patterns"},
      {R"({"op":"watch","patterns":[1]})", "patterns"},
  };
  for (const auto& [line, blamed] : rows) {
    const auto request = parse_request(line);
    ASSERT_FALSE(request) << line;
    EXPECT_NE(request.error().message().find(blamed), std::string::npos) << line << ": " << request.error().message();
  }
  EXPECT_FALSE(parse_request(std::string(kMaxRequestLine, '['))) << "nor does depth matter";
  std::string many = R"({"op":"watch","patterns":["a")";
  for (size_t i = 0; i < kMaxPatterns; ++i) many += ",\"a\"";
  EXPECT_FALSE(parse_request(many + "]}"));
}

TEST(FrameTest, FramesComeOutAsTheyWentInHoweverTheBytesArrive) {
  std::string bytes;
  FrameHeader header{};
  header.kind = FrameKind::kText;
  header.console = {7, 1};
  header.offset = 1'000'000'000'000;
  header.number = 42;
  append_frame(bytes, header, "hello");
  header.kind = FrameKind::kLive;
  append_frame(bytes, header);
  header.kind = FrameKind::kNotice;
  append_frame(bytes, header, std::string(kMaxPayload, 'x'));
  for (const size_t step : {size_t{1}, size_t{7}, size_t{31}, size_t{33}, bytes.size()}) {
    FrameReader reader;
    std::string seen;
    for (size_t at = 0; at < bytes.size(); at += step) {
      reader.receive(std::string_view(bytes).substr(at, step));
      while (const auto frame = reader.next()) {
        seen += std::to_string(static_cast<int>(frame->header.kind)) + ":" + std::to_string(frame->payload.size()) + " ";
        EXPECT_EQ(frame->header.console, (ConsoleId{7, 1}));
        EXPECT_EQ(frame->header.offset, header.offset);
      }
    }
    EXPECT_EQ(seen, "2:5 4:0 6:16384 ") << step;
    EXPECT_EQ(reader.pending_bytes(), 0u);
    EXPECT_FALSE(reader.is_broken());
  }
}

TEST(FrameTest, PayloadBeyondTheLimitBreaksTheReaderAndIsNotWaitedFor) {
  FrameHeader header{};
  header.kind = FrameKind::kInput;
  header.bytes = kMaxPayload + 1;
  FrameReader reader;
  reader.receive(std::string_view(reinterpret_cast<const char*>(&header), sizeof header));
  EXPECT_FALSE(reader.next());
  EXPECT_TRUE(reader.is_broken());
}

TEST(GlobTest, StarIsAnyTextAndQuestionMarkAnyCharacter) {
  EXPECT_TRUE(matches_glob("", ""));
  EXPECT_FALSE(matches_glob("", "a"));
  EXPECT_TRUE(matches_glob("*", ""));
  EXPECT_TRUE(matches_glob("web-*", "web-12"));
  EXPECT_FALSE(matches_glob("web-*", "we"));
  EXPECT_TRUE(matches_glob("*-1?", "web-12"));
  EXPECT_FALSE(matches_glob("*-1?", "web-1"));
  EXPECT_TRUE(matches_glob("*a*b*", "xaxaxbx"));
  EXPECT_TRUE(matches_glob("a*a", "aaba"));
  EXPECT_FALSE(matches_glob("web", "web2")) << "all of the name";
}

// A matcher that tries all stars again takes longer than the universe has.
TEST(GlobTest, ManyStarsCostNoMoreThanTextTimesPattern) {
  std::string pattern;
  for (int i = 0; i < 60; ++i) pattern += "*a";
  EXPECT_FALSE(matches_glob(pattern + "b", std::string(120, 'a')));
}

}  // namespace
}  // namespace xenopolis::console
