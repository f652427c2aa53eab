// Reads its ramdisk, byte N of which is N * 7 + N / 256 (modulo 256), `bytes=N` of them.
#include "tests/verdict.h"

namespace xenopolis::guest {

const char* const kTestName = "ramdisk";

void test() {
  const start_info_t& info = *domain_self.info;
  EXPECT_EQ(info.mod_len, option::number("bytes", 0));
  if (info.mod_len == 0) skip("no ramdisk");
  EXPECT_EQ(info.flags & SIF_MULTIBOOT_MOD, 0);
  EXPECT_EQ(info.mod_start % 4096, 0);
  const auto* bytes = reinterpret_cast<const uint8_t*>(info.mod_start);
  for (unsigned long i = 0; i < info.mod_len; ++i) {
    if (bytes[i] != static_cast<uint8_t>(i * 7 + i / 256)) EXPECT_EQ(i, info.mod_len);
  }
}

}  // namespace xenopolis::guest
