// From a domain's record and memory to a domain that can run.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "builder/image.h"
#include "vcpu/cell_domain.h"

namespace xenopolis::vcpu {

// Images by path: a cell loads each once. A file that has changed is loaded again.
class ImageCache {
 public:
  Result<std::shared_ptr<const builder::Image>> load(const std::string& path);

 private:
  struct Identity {
    uint64_t device, inode, size;
    int64_t modified_s, modified_ns;
    bool operator==(const Identity&) const = default;
  };
  struct Entry {
    Identity identity;
    std::shared_ptr<const builder::Image> image;
  };
  // Domains need the image while they are built only, so this bounds memory: an operator with more images than this
  // loads them more often.
  static constexpr size_t kMaxImages = 8;
  std::map<std::string, Entry> images_;
};

struct Booted {
  std::unique_ptr<CellDomain> domain;
  Gfn store_gfn;
  Gfn console_gfn;
};

// Builds domain `domid` from `image` by what record_of() and memory_of() say, and creates its vCPU. The record is as it
// was, but for built_ns and the two gfns; its state is not changed. The domain's memory holds zeros.
Result<Booted> boot(const Hypervisor& hypervisor, Backend& backend, const builder::Image& image, DomId domid);

}  // namespace xenopolis::vcpu
