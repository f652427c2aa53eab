// Kernel images and ramdisks, opened for cells.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "base/file.h"

namespace xenopolis::toolstack {

// A thousand domains that are created at once from one file share one descriptor, as long as the file is the same.
class SharedFiles {
 public:
  // `what` says in errors what the file is for.
  Result<std::shared_ptr<const Fd>> open(const std::string& path, const std::string& what);

 private:
  std::unordered_map<std::string, std::weak_ptr<const Fd>> files_;  // of messages that wait to be sent
};

}  // namespace xenopolis::toolstack
