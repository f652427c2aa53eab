// The table of names in xs_wire.h exists only where errno values are known before it.
// clang-format off
#include <cerrno>
#include <cstdint>
#include <xen/io/xs_wire.h>
// clang-format on

#include "xenstore/error.h"

namespace xenopolis::xenstore {

std::string_view error_name(XsError error) {
  for (const auto& known : xsd_errors) {
    if (known.errnum == static_cast<int>(error)) return known.errstring;
  }
  return "EINVAL";
}

}  // namespace xenopolis::xenstore
