// Errors of the xenstore protocol: errno values that have a name on the wire (xs_wire.h, xsd_errors).
#pragma once

#include <cerrno>
#include <string_view>

#include "base/result.h"

namespace xenopolis::xenstore {

enum class XsError : int {
  kInval = EINVAL,
  kAcces = EACCES,
  kExist = EEXIST,
  kNoEnt = ENOENT,
  kNoMem = ENOMEM,
  kNoSpc = ENOSPC,
  kIo = EIO,
  kNoSys = ENOSYS,
  kBusy = EBUSY,
  kAgain = EAGAIN,
  kTooBig = E2BIG,
  kPerm = EPERM,
};

template <class T>
using XsResult = Result<T, XsError>;
using XsStatus = Result<void, XsError>;

inline tl::unexpected<XsError> xs_fail(XsError reason) {
  return tl::unexpected<XsError>(reason);
}

// "EINVAL": what an ERROR reply carries.
std::string_view error_name(XsError error);

}  // namespace xenopolis::xenstore
