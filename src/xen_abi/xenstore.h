// What Xen's public header <xen/io/xs_wire.h> says of xenstore since Debian's version (4.17) of it.
#pragma once

#include <cstdint>

#include "xen_abi/xen.h"

namespace xenopolis {

// Types of requests: docs/misc/xenstore.txt of Xen 4.21, "Defined Xenstore message types".
inline constexpr uint32_t kXsGetFeature = 23;
inline constexpr uint32_t kXsSetFeature = 24;
inline constexpr uint32_t kXsGetQuota = 25;
inline constexpr uint32_t kXsSetQuota = 26;
inline constexpr uint32_t kXsTypeCount = 27;
static_assert(kXsGetFeature == XS_DIRECTORY_PART + 1);

// Bits of server_features in the ring page: xs_wire.h of Xen 4.21; "WATCH can take a third parameter limiting its
// scope" (docs/misc/xenstore-ring.txt).
inline constexpr uint32_t kXenstoreFeatureReconnection = XENSTORE_SERVER_FEATURE_RECONNECTION;
inline constexpr uint32_t kXenstoreFeatureError = XENSTORE_SERVER_FEATURE_ERROR;
inline constexpr uint32_t kXenstoreFeatureWatchDepth = 4;

}  // namespace xenopolis
