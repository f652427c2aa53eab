#include "toolstack/shared_files.h"

#include <sys/stat.h>

namespace xenopolis::toolstack {
namespace {

// How many paths are remembered before those of files that are closed again are forgotten.
constexpr size_t kMaxPaths = 64;

bool is_same_file(const Fd& a, const Fd& b) {
  struct stat of_a {
  }, of_b{};
  return fstat(a.get(), &of_a) == 0 && fstat(b.get(), &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
         of_a.st_ino == of_b.st_ino;
}

}  // namespace

Result<std::shared_ptr<const Fd>> SharedFiles::open(const std::string& path, const std::string& what) {
  auto opened = std::make_shared<const Fd>(TRY(open_regular_file(path, what)));
  if (files_.size() >= kMaxPaths) std::erase_if(files_, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<const Fd>& known = files_[path];
  if (auto before = known.lock(); before != nullptr && is_same_file(*before, *opened)) return before;
  known = opened;
  return opened;
}

}  // namespace xenopolis::toolstack
