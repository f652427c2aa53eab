// Paths of the store. Rules: xenstore.txt ("Paths are /-separated ...") and xs_wire.h for the lengths.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "xen_abi/xen.h"
#include "xenstore/error.h"
#include "xenstore/work.h"

namespace xenopolis::xenstore {

inline constexpr size_t kAbsolutePathMax = 3072;
inline constexpr size_t kRelativePathMax = 2048;
static_assert(kAbsolutePathMax == XENSTORE_ABS_PATH_MAX && kRelativePathMax == XENSTORE_REL_PATH_MAX);

// "@introduceDomain" and its like: names for watches, not places in the tree.
inline bool is_special(std::string_view path) {
  return !path.empty() && path.front() == '@';
}

// "/" or "/a/b": characters, slashes and length as the protocol asks.
bool is_valid_absolute_path(std::string_view path);

// "/local/domain/7": where the relative paths of domain 7 start.
std::string domain_path(DomId domid);

// The absolute path that `given` means when domain `domid` says it. Answers a view of `given` or of `buffer`, which
// must both outlive it. kInval when it is not a path; special names are not.
XsResult<std::string_view> canonical_path(std::string_view given, DomId domid, std::string& buffer);

// The same for watches, where special names are allowed.
XsResult<std::string_view> canonical_watch_path(std::string_view given, DomId domid, std::string& buffer);

// How much of a path the quota of its length counts: what follows "/local/domain/7/", so that a relative path means the
// same in every domain.
size_t limited_path_bytes(std::string_view path);

// Of a valid absolute path other than "/".
std::string_view parent_path(std::string_view path);
std::string_view base_name(std::string_view path);

// The names between the slashes of a valid absolute path, from the root down: none for "/".
class PathWalk {
 public:
  explicit PathWalk(std::string_view path) : path_(path), at_(path.size() <= 1 ? path.size() : 0) {}

  // False at the end.
  bool next(std::string_view& name) {
    if (at_ >= path_.size()) return false;
    const size_t start = at_ + 1;
    const size_t slash = path_.find('/', start);
    at_ = slash == std::string_view::npos ? path_.size() : slash;
    name = path_.substr(start, at_ - start);
    count_work(1);
    return true;
  }
  // The path down to the name that next() gave last ("/" before the first).
  std::string_view so_far() const { return at_ == 0 ? path_.substr(0, 1) : path_.substr(0, at_); }

 private:
  std::string_view path_;
  size_t at_;
};

}  // namespace xenopolis::xenstore
