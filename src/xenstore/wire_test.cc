#include "xenstore/wire.h"

#include <gtest/gtest.h>

#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

const std::string kStream = message_bytes(XS_READ, bars_to_nuls("/a|"), 0, 1) +
                            message_bytes(XS_TRANSACTION_START, "", 5, 2) +
                            message_bytes(XS_WRITE, bars_to_nuls("/b|") + std::string(100, 'v'), 6, 3);

std::string drain(MessageReader& reader) {
  std::string seen;
  Header header;
  std::string_view payload;
  while (reader.next(header, payload) == MessageReader::Next::kMessage) {
    seen += std::to_string(header.type) + "/" + std::to_string(header.req_id) + "/" + std::to_string(header.tx_id) +
            "/" + std::string(payload) + ";";
  }
  return seen;
}

TEST(MessageReader, GivesTheSameMessagesWhereverTheStreamIsCut) {
  MessageReader whole;
  whole.append(kStream);
  const std::string expected = drain(whole);
  EXPECT_EQ(std::count(expected.begin(), expected.end(), ';'), 3);
  for (size_t first = 0; first <= kStream.size(); ++first) {
    for (size_t second = first; second <= kStream.size(); ++second) {
      MessageReader reader;
      std::string seen;
      reader.append(std::string_view(kStream).substr(0, first));
      seen += drain(reader);
      reader.append(std::string_view(kStream).substr(first, second - first));
      seen += drain(reader);
      EXPECT_EQ(reader.has_message(), false);
      reader.append(std::string_view(kStream).substr(second));
      seen += drain(reader);
      ASSERT_EQ(seen, expected) << "cut at " << first << " and " << second;
      ASSERT_EQ(reader.pending_bytes(), 0u);
    }
  }
}

TEST(MessageReader, RefusesAPayloadOverTheLimitAsSoonAsItSeesTheHeader) {
  for (const uint32_t bytes : {4096u, 4097u, 0x80000000u, 0xffffffffu}) {
    Header header{XS_READ, 0, 0, bytes};
    MessageReader reader;
    reader.append(std::string_view(reinterpret_cast<const char*>(&header), sizeof header));
    std::string_view payload;
    EXPECT_EQ(reader.next(header, payload),
              bytes > kPayloadMax ? MessageReader::Next::kTooLong : MessageReader::Next::kIncomplete)
        << bytes;
    EXPECT_EQ(reader.has_message(), bytes > kPayloadMax);
  }
}

TEST(Strings, AreSplitAtNulsAndTheRestIgnored) {
  const struct {
    std::string payload;
    size_t count;
    std::string first;
    bool is_one;
  } rows[] = {
      {"", 0, "", false},     {"|", 1, "", true},      {"a|", 1, "a", true}, {"a", 0, "", false},
      {"a|b", 1, "a", false}, {"a|b|", 2, "a", false}, {"||", 2, "", false}, {"|a|", 2, "", false},
  };
  for (const auto& row : rows) {
    const std::string payload = bars_to_nuls(row.payload);
    std::string_view first[1];
    EXPECT_EQ(split_strings(payload, first), row.count) << row.payload;
    EXPECT_EQ(first[0], row.first) << row.payload;
    std::string_view one;
    EXPECT_EQ(is_one_string(payload, one), row.is_one) << row.payload;
    EXPECT_EQ(count_strings(payload), row.count) << row.payload;
  }
}

TEST(Decimal, IsNothingButDigitsThatFit) {
  DomId domid = 0;
  EXPECT_TRUE(parse_decimal("65535", domid));
  EXPECT_EQ(domid, 65535);
  for (const std::string_view bad : {"", "-1", "+1", "1x", " 1", "65536", "0x1"}) {
    EXPECT_FALSE(parse_decimal(bad, domid)) << bad;
  }
}

}  // namespace
}  // namespace xenopolis::xenstore
