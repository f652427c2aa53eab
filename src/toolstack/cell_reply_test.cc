#include "toolstack/cell_reply.h"

#include <gtest/gtest.h>

#include <cstring>

namespace xenopolis::toolstack {
namespace {

using vcpu::CellReply;
using vcpu::CellReplyKind;

CellReply reply_of(CellReplyKind kind, DomId domid = 7) {
  CellReply reply{};
  reply.kind = kind;
  reply.domid = domid;
  return reply;
}

TEST(CellReplyTest, TextWithoutAnEndEnds) {
  CellReply reply = reply_of(CellReplyKind::kShutdown);
  std::memset(reply.text, 'x', sizeof reply.text);
  EXPECT_EQ(std::string(checked(reply).value().text), std::string(sizeof reply.text - 1, 'x'));
}

TEST(CellReplyTest, TextIsOneLineThatSteersNoTerminal) {
  CellReply reply = reply_of(CellReplyKind::kShutdown);
  std::strcpy(reply.text, "a\x1b[2J\nb");
  EXPECT_STREQ(checked(reply).value().text, "a?[2J?b");
}

TEST(CellReplyTest, FailureHasAnErrnoAndAText) {
  for (const CellReplyKind kind : {CellReplyKind::kBuildFailed, CellReplyKind::kNotStarted}) {
    for (const int error : {0, -1, 4096}) {
      CellReply reply = reply_of(kind);
      reply.error = error;
      EXPECT_EQ(checked(reply).value().error, EIO);
      EXPECT_STRNE(checked(reply).value().text, "");
    }
  }
  CellReply reply = reply_of(CellReplyKind::kPaused);
  EXPECT_EQ(checked(reply).value().error, 0);
  reply.error = -5;
  EXPECT_EQ(checked(reply).value().error, EIO);
  reply = reply_of(CellReplyKind::kBuildFailed);
  reply.error = ENOEXEC;
  std::strcpy(reply.text, "no ELF file");
  EXPECT_EQ(checked(reply).value().error, ENOEXEC);
  EXPECT_STREQ(checked(reply).value().text, "no ELF file");
}

TEST(CellReplyTest, DomainsAndKindsThatThereAreNotAreErrors) {
  EXPECT_EQ(checked(reply_of(CellReplyKind::kBuilt, kDom0)).error().code, EPROTO);
  EXPECT_EQ(checked(reply_of(CellReplyKind::kBuilt, 0xffff)).error().code, EPROTO);
  EXPECT_EQ(checked(reply_of(static_cast<CellReplyKind>(77))).error().code, EPROTO);
  EXPECT_TRUE(checked(reply_of(CellReplyKind::kReady, kDom0)));
}

}  // namespace
}  // namespace xenopolis::toolstack
