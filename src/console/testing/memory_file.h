// For tests: shared memory in a file, and copies of it as somebody would find it after a death at this moment.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/fd.h"

namespace xenopolis::console {

inline Fd memory_file() {
  Fd file(memfd_create("test", MFD_CLOEXEC));
  CHECK(file);
  return file;
}
inline Fd same_file(const Fd& file) {
  return Fd(dup(file.get()));
}

// What a sparse file holds.
class FileContents {
 public:
  static FileContents of(const Fd& file) {
    FileContents contents;
    contents.update(file);
    return contents;
  }

  // Says whether that is something else than before.
  bool update(const Fd& file) {
    bool is_changed = false;
    size_t count = 0;
    for (off_t from = 0; (from = lseek(file.get(), from, SEEK_DATA)) >= 0; ++count) {
      const off_t end = lseek(file.get(), from, SEEK_HOLE);
      const auto size = static_cast<size_t>(end - from);
      buffer_.resize(size);
      CHECK(pread(file.get(), buffer_.data(), size, from) == end - from);
      if (count == extents_.size()) extents_.emplace_back();
      if (Extent& extent = extents_[count]; extent.from != from || extent.bytes != buffer_) {
        extent = {from, buffer_};
        is_changed = true;
      }
      from = end;
    }
    is_changed |= count != extents_.size();
    extents_.resize(count);
    size_ = lseek(file.get(), 0, SEEK_END);
    return is_changed;
  }

  Fd make_file() const {
    Fd file = memory_file();
    CHECK(ftruncate(file.get(), size_) == 0);
    for (const Extent& extent : extents_) {
      const auto size = static_cast<ssize_t>(extent.bytes.size());
      CHECK(pwrite(file.get(), extent.bytes.data(), extent.bytes.size(), extent.from) == size);
    }
    return file;
  }

 private:
  struct Extent {
    off_t from = 0;
    std::vector<uint8_t> bytes;
  };

  off_t size_ = 0;
  std::vector<Extent> extents_;
  std::vector<uint8_t> buffer_;
};

}  // namespace xenopolis::console
