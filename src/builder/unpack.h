// Kernels as distributions install them: an ELF file in gzip, xz, zstd or lz4, in Linux' bzImage or not.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace xenopolis::builder {

using FileBytes = std::shared_ptr<const std::vector<uint8_t>>;

// What is in there: `file` itself if it is neither compressed nor a bzImage. ENOEXEC: what it is instead of something
// that can be unpacked, or how it is damaged. EFBIG: more than `max_size` bytes come out.
Result<FileBytes> unpack_kernel(const std::string& path, FileBytes file, uint64_t max_size);

}  // namespace xenopolis::builder
