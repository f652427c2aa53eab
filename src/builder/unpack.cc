#include "builder/unpack.h"

#include <fmt/format.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace xenopolis::builder {
namespace {

using Bytes = std::span<const uint8_t>;

// Linux' boot protocol (Documentation/arch/x86/boot.rst): offsets in the setup header.
constexpr size_t kSetupSectors = 0x1f1;
constexpr size_t kMagic = 0x202;
constexpr size_t kVersion = 0x206;
constexpr size_t kPayloadOffset = 0x248;
constexpr size_t kPayloadLength = 0x24c;
constexpr uint16_t kFirstVersionWithPayload = 0x208;
constexpr size_t kSector = 512;

constexpr std::string_view kLz4Legacy = "\x02\x21\x4c\x18";

bool starts_with(Bytes bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

template <class T>
T number_at(Bytes bytes, size_t offset) {
  T value{};
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

tl::unexpected<Error> bad(const std::string& path, const std::string& what) {
  return fail(ENOEXEC, fmt::format("{}: {}", path, what));
}

// Space for what comes out, which doubles when it is full.
class Output {
 public:
  Output(const std::string& path, uint64_t max_size) : path_(path), max_size_(max_size) {}

  // At least one byte of room at end().
  Status make_room() {
    if (used_ < bytes_.size()) return {};
    if (bytes_.size() >= max_size_) {
      return fail(EFBIG, fmt::format("{}: unpacked it has more than {} bytes", path_, max_size_));
    }
    bytes_.resize(std::min<uint64_t>(max_size_, std::max<uint64_t>(bytes_.size() * 2, kFirst)));
    return {};
  }
  uint8_t* end() { return bytes_.data() + used_; }
  size_t room() const { return bytes_.size() - used_; }
  void add(size_t size) { used_ += size; }
  FileBytes take() {
    bytes_.resize(used_);
    return std::make_shared<const std::vector<uint8_t>>(std::move(bytes_));
  }

 private:
  static constexpr uint64_t kFirst = 1 << 20;
  const std::string& path_;
  const uint64_t max_size_;
  std::vector<uint8_t> bytes_;
  size_t used_ = 0;
};

// Each ends at the end of its first stream: what follows in a bzImage is a size.

Result<FileBytes> unpack_gzip(const std::string& path, Bytes packed, uint64_t max_size) {
  constexpr int kGzip = 16 + MAX_WBITS;
  z_stream stream{};
  if (inflateInit2(&stream, kGzip) != Z_OK) return fail(ENOMEM, path + ": gzip");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> owner(&stream, inflateEnd);
  stream.next_in = const_cast<uint8_t*>(packed.data());
  stream.avail_in = static_cast<uInt>(packed.size());
  Output output(path, max_size);
  for (;;) {
    TRY_VOID(output.make_room());
    const auto room = static_cast<uInt>(output.room());
    stream.next_out = output.end();
    stream.avail_out = room;
    const int result = inflate(&stream, Z_NO_FLUSH);
    output.add(room - stream.avail_out);
    if (result == Z_STREAM_END) return output.take();
    if (result != Z_OK) return bad(path, "its gzip data are damaged or end early");
  }
}

Result<FileBytes> unpack_xz(const std::string& path, Bytes packed, uint64_t max_size) {
  constexpr uint64_t kMemory = 256 << 20;  // xz -9 takes 65 MiB
  lzma_stream stream = LZMA_STREAM_INIT;
  if (lzma_stream_decoder(&stream, kMemory, 0) != LZMA_OK) return fail(ENOMEM, path + ": xz");
  const std::unique_ptr<lzma_stream, void (*)(lzma_stream*)> owner(&stream, lzma_end);
  stream.next_in = packed.data();
  stream.avail_in = packed.size();
  Output output(path, max_size);
  for (;;) {
    TRY_VOID(output.make_room());
    const size_t room = output.room();
    stream.next_out = output.end();
    stream.avail_out = room;
    const lzma_ret result = lzma_code(&stream, LZMA_RUN);
    output.add(room - stream.avail_out);
    if (result == LZMA_STREAM_END) return output.take();
    if (result != LZMA_OK) return bad(path, "its xz data are damaged or end early");
  }
}

Result<FileBytes> unpack_zstd(const std::string& path, Bytes packed, uint64_t max_size) {
  const std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(), ZSTD_freeDStream);
  if (stream == nullptr) return fail(ENOMEM, path + ": zstd");
  ZSTD_inBuffer input{packed.data(), packed.size(), 0};
  Output output(path, max_size);
  for (;;) {
    TRY_VOID(output.make_room());
    ZSTD_outBuffer room{output.end(), output.room(), 0};
    const size_t before = input.pos;
    const size_t result = ZSTD_decompressStream(stream.get(), &room, &input);
    output.add(room.pos);
    if (result == 0) return output.take();
    if (ZSTD_isError(result) != 0 || (input.pos == before && room.pos == 0)) {
      return bad(path, "its zstd data are damaged or end early");
    }
  }
}

// What Linux has of lz4 is its first format (doc/lz4_Frame_format.md, "Legacy frame"): blocks of at most 8 MiB, each
// after its packed size, until the data end. In a bzImage four bytes follow that are no block.
Result<FileBytes> unpack_lz4(const std::string& path, Bytes packed, uint64_t max_size) {
  constexpr uint64_t kBlock = 8 << 20;
  Bytes rest = packed.subspan(kLz4Legacy.size());
  std::vector<uint8_t> unpacked;
  do {
    const uint64_t size = rest.size() < sizeof(uint32_t) ? 0 : number_at<uint32_t>(rest, 0);
    if (size == 0 || size > rest.size() - sizeof(uint32_t)) return bad(path, "its lz4 data are damaged or end early");
    const Bytes block = rest.subspan(sizeof(uint32_t), size);
    const size_t before = unpacked.size();
    if (before >= max_size) return fail(EFBIG, fmt::format("{}: unpacked it has more than {} bytes", path, max_size));
    unpacked.resize(before + std::min(kBlock, max_size - before));
    const int got = LZ4_decompress_safe(reinterpret_cast<const char*>(block.data()),
                                        reinterpret_cast<char*>(unpacked.data() + before), static_cast<int>(size),
                                        static_cast<int>(unpacked.size() - before));
    if (got < 0 && unpacked.size() == max_size) {
      return fail(EFBIG, fmt::format("{}: unpacked it has more than {} bytes, or is damaged", path, max_size));
    }
    if (got < 0) return bad(path, "its lz4 data are damaged or end early");
    unpacked.resize(before + static_cast<size_t>(got));
    rest = rest.subspan(sizeof(uint32_t) + size);
  } while (rest.size() > sizeof(uint32_t));
  return std::make_shared<const std::vector<uint8_t>>(std::move(unpacked));
}

// Null: it is not compressed.
Result<FileBytes> unpack_stream(const std::string& path, Bytes packed, uint64_t max_size) {
  if (starts_with(packed, "\x1f\x8b")) return unpack_gzip(path, packed, max_size);
  if (starts_with(packed, std::string_view("\xfd"
                                           "7zXZ\0",
                                           6)))
    return unpack_xz(path, packed, max_size);
  if (starts_with(packed, "\x28\xb5\x2f\xfd")) return unpack_zstd(path, packed, max_size);
  if (starts_with(packed, kLz4Legacy)) return unpack_lz4(path, packed, max_size);
  struct Other {
    std::string_view magic, name;
  };
  static constexpr Other kOthers[] = {
      {"BZh", "bzip2"}, {"\x5d\0\0", "lzma"}, {"\x89LZO", "lzo"}, {"\x04\x22\x4d\x18", "lz4's frames"}};
  for (const Other& other : kOthers) {
    if (starts_with(packed, other.magic)) {
      return bad(path, fmt::format("compressed with {}; gzip, xz, zstd and Linux' lz4 are unpacked here", other.name));
    }
  }
  return FileBytes();
}

Result<Bytes> payload_of_bz_image(const std::string& path, Bytes file) {
  const auto version = number_at<uint16_t>(file, kVersion);
  if (version < kFirstVersionWithPayload) {
    return bad(path, fmt::format("a bzImage of boot protocol {}.{:02}, older than Linux 2.6.26: extract its vmlinux",
                                 version >> 8, version & 0xff));
  }
  const uint64_t sectors = file[kSetupSectors] == 0 ? 4 : file[kSetupSectors];
  const uint64_t begin = (sectors + 1) * kSector + number_at<uint32_t>(file, kPayloadOffset);
  const uint64_t size = number_at<uint32_t>(file, kPayloadLength);
  if (begin > file.size() || size > file.size() - begin) {
    return bad(path, fmt::format("truncated: the kernel in this bzImage takes {} bytes from offset {}, but the file "
                                 "has {} bytes",
                                 size, begin, file.size()));
  }
  return file.subspan(begin, size);
}

}  // namespace

Result<FileBytes> unpack_kernel(const std::string& path, FileBytes file, uint64_t max_size) {
  Bytes bytes(*file);
  const bool is_bz_image =
      bytes.size() >= kPayloadLength + sizeof(uint32_t) && starts_with(bytes.subspan(kMagic), "HdrS");
  if (is_bz_image) bytes = TRY(payload_of_bz_image(path, bytes));
  FileBytes unpacked = TRY(unpack_stream(path, bytes, max_size));
  if (unpacked != nullptr) return unpacked;
  if (!is_bz_image) return file;
  return std::make_shared<const std::vector<uint8_t>>(bytes.begin(), bytes.end());
}

}  // namespace xenopolis::builder
