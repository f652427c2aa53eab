// From a domain's record and memory to a domain that can run.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <string>

#include "builder/image.h"
#include "vcpu/cell_domain.h"

namespace xenopolis::vcpu {

// Images by their files: a cell loads each once. A file that has changed is loaded again.
class ImageCache {
 public:
  // From a descriptor of the file; `name` is for errors.
  Result<std::shared_ptr<const builder::Image>> load(int fd, const std::string& name);

 private:
  struct Identity {
    uint64_t device, inode, size;
    int64_t modified_s, modified_ns;
    auto operator<=>(const Identity&) const = default;
  };
  // Domains need the image while they are built only, so this bounds memory: an operator with more images than this
  // loads them more often.
  static constexpr size_t kMaxImages = 8;
  std::map<Identity, std::shared_ptr<const builder::Image>> images_;
};

struct Booted {
  std::unique_ptr<CellDomain> domain;
  Gfn store_gfn;
  Gfn console_gfn;
};

// Builds domain `domid` from `image` by what record_of() and memory_of() say, and creates its vCPU. The record is as it
// was, but for built_ns and the two gfns; its state is not changed. The domain's memory holds zeros. `ramdisk_fd`: -1
// for none.
Result<Booted> boot(const Hypervisor& hypervisor, Backend& backend, const builder::Image& image, DomId domid,
                    int ramdisk_fd = -1);

}  // namespace xenopolis::vcpu
