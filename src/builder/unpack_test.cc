#include "builder/unpack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "builder/image.h"
#include "builder/test_image.h"

namespace xenopolis::builder {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<uint8_t>;

constexpr uint64_t kPlenty = 16 << 20;

Bytes gzipped(const Bytes& bytes) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  Bytes packed(deflateBound(&stream, bytes.size()));
  stream.next_in = const_cast<uint8_t*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

Bytes xzipped(const Bytes& bytes) {
  Bytes packed(lzma_stream_buffer_bound(bytes.size()));
  size_t size = 0;
  // As Linux' own build: CRC-32.
  EXPECT_EQ(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, nullptr, bytes.data(), bytes.size(), packed.data(), &size,
                                    packed.size()),
            LZMA_OK);
  packed.resize(size);
  return packed;
}

Bytes zstandard(const Bytes& bytes) {
  Bytes packed(ZSTD_compressBound(bytes.size()));
  packed.resize(ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), 19));
  return packed;
}

// As `lz4 -l`, in blocks of 8 MiB.
Bytes lz4_legacy(const Bytes& bytes) {
  constexpr size_t kBlock = 8 << 20;
  Bytes packed{0x02, 0x21, 0x4c, 0x18};
  for (size_t at = 0; at < bytes.size(); at += kBlock) {
    const auto size = static_cast<int>(std::min(kBlock, bytes.size() - at));
    Bytes block(static_cast<size_t>(LZ4_compressBound(size)));
    const int got = LZ4_compress_default(reinterpret_cast<const char*>(&bytes[at]),
                                         reinterpret_cast<char*>(block.data()), size, static_cast<int>(block.size()));
    const auto packed_size = static_cast<uint32_t>(got);
    append_bytes(packed, &packed_size, sizeof packed_size);
    append_bytes(packed, block.data(), packed_size);
  }
  return packed;
}

Bytes bz_image(const Bytes& payload, uint16_t version = 0x20f) {
  constexpr uint8_t kSetupSectors = 3;
  constexpr uint32_t kOffset = 0x123;
  Bytes file((kSetupSectors + 1) * 512 + kOffset);
  file[0x1f1] = kSetupSectors;
  std::memcpy(&file[0x202], "HdrS", 4);
  std::memcpy(&file[0x206], &version, sizeof version);
  std::memcpy(&file[0x248], &kOffset, sizeof kOffset);
  const auto size = static_cast<uint32_t>(payload.size() + 4);
  std::memcpy(&file[0x24c], &size, sizeof size);
  file.insert(file.end(), payload.begin(), payload.end());
  file.insert(file.end(), 4, 0xee);  // the unpacked size, which nothing here believes
  file.insert(file.end(), 100, 0);
  return file;
}

Result<FileBytes> unpack(const Bytes& bytes, uint64_t max_size = kPlenty) {
  return unpack_kernel("vmlinuz", std::make_shared<const Bytes>(bytes), max_size);
}

Bytes kernel() {
  return TestImage().bytes();
}

struct Packing {
  const char* name;
  Bytes (*pack)(const Bytes&);
};
class UnpackTest : public ::testing::TestWithParam<Packing> {};
INSTANTIATE_TEST_SUITE_P(, UnpackTest,
                         ::testing::Values(Packing{"gzip", gzipped}, Packing{"xz", xzipped}, Packing{"zstd", zstandard},
                                           Packing{"lz4", lz4_legacy}),
                         [](const auto& test) { return test.param.name; });

TEST_P(UnpackTest, KernelComesOutAsItWentIn) {
  EXPECT_EQ(*unpack(GetParam().pack(kernel())).value(), kernel());
  EXPECT_EQ(*unpack(bz_image(GetParam().pack(kernel()))).value(), kernel());
  Bytes big(9 << 20);
  for (size_t i = 0; i < big.size(); i += 100) big[i] = static_cast<uint8_t>(i >> 8);
  EXPECT_EQ(*unpack(GetParam().pack(big)).value(), big);
}

TEST_P(UnpackTest, EveryTruncationIsAnErrorThatNamesTheFile) {
  const Bytes whole = GetParam().pack(Bytes(3000, 7));
  for (size_t size = 6; size < whole.size(); ++size) {
    const auto result = unpack(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)));
    ASSERT_FALSE(result) << size;
    EXPECT_EQ(result.error().code, ENOEXEC);
    EXPECT_THAT(result.error().what, HasSubstr("vmlinuz: "));
  }
}

TEST_P(UnpackTest, DamageIsAnErrorOrGoesUnnoticedButNeverAnAccident) {
  const Bytes whole = GetParam().pack(kernel());
  for (size_t at = 6; at < whole.size(); ++at) {
    Bytes bytes = whole;
    bytes[at] ^= 0x41;
    const auto result = unpack(bytes, 1 << 20);
    if (!result) {
      EXPECT_THAT(result.error().what, HasSubstr("vmlinuz: "));
    }
  }
}

TEST_P(UnpackTest, WhatComesOutIsBounded) {
  const Bytes packed = GetParam().pack(Bytes(4 << 20));
  EXPECT_LT(packed.size(), 100'000u);
  EXPECT_EQ(unpack(packed, (4 << 20) - 1).error().code, EFBIG);
  EXPECT_TRUE(unpack(packed, (4 << 20) + 1));
}

TEST(Unpack, PlainFilesStayWhatTheyAre) {
  const auto file = std::make_shared<const Bytes>(kernel());
  EXPECT_EQ(unpack_kernel("kernel", file, kPlenty).value(), file);
  EXPECT_EQ(*unpack(bz_image(kernel())).value(), [] {
    Bytes with_size = kernel();
    with_size.insert(with_size.end(), 4, 0xee);
    return with_size;
  }());
  EXPECT_TRUE(unpack({}).value()->empty());
}

TEST(Unpack, WhatCannotBeUnpackedIsNamed) {
  EXPECT_THAT(unpack(bz_image({0x04, 0x22, 0x4d, 0x18, 1, 2, 3})).error().what, HasSubstr("lz4's frames"));
  EXPECT_THAT(unpack({'B', 'Z', 'h', '9'}).error().what, HasSubstr("bzip2"));
  EXPECT_THAT(unpack(bz_image(kernel(), 0x207)).error().what, HasSubstr("boot protocol 2.07"));
  Bytes short_file = bz_image(kernel());
  short_file.resize(3000);
  EXPECT_THAT(unpack(short_file).error().what, HasSubstr("truncated"));
}

Result<Image> load(const Bytes& bytes) {
  const std::string path = ::testing::TempDir() + "vmlinuz_of_unpack_test";
  std::ofstream(path).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  Result<Image> image = load_image(path);
  std::filesystem::remove(path);
  return image;
}

TEST(Unpack, LoadedImagesAreUnpacked) {
  const auto image = load(bz_image(xzipped(kernel())));
  ASSERT_TRUE(image) << image.error().message();
  EXPECT_EQ(image->guest_os, "test-guest");
}

TEST(Unpack, ASmallFileDoesNotBecomeAGibibyte) {
  const Bytes zeros((256 << 20) + 1);
  Bytes packed(ZSTD_compressBound(zeros.size()));
  packed.resize(ZSTD_compress(packed.data(), packed.size(), zeros.data(), zeros.size(), 1));
  EXPECT_LT(packed.size(), 100'000u);
  EXPECT_EQ(load(packed).error().code, EFBIG);
}

}  // namespace
}  // namespace xenopolis::builder
