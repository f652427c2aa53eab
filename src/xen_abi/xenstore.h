// What Xen's public header <xen/io/xs_wire.h> says of xenstore since Debian's version (4.17) of it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "xen_abi/xen.h"

namespace xenopolis {

// Types of requests: docs/misc/xenstore.txt of Xen 4.21, "Defined Xenstore message types".
inline constexpr uint32_t kXsGetFeature = 23;
inline constexpr uint32_t kXsSetFeature = 24;
inline constexpr uint32_t kXsGetQuota = 25;
inline constexpr uint32_t kXsSetQuota = 26;
inline constexpr uint32_t kXsTypeCount = 27;
static_assert(kXsGetFeature == XS_DIRECTORY_PART + 1);

// As xenstore.txt calls them; "" is no type.
inline constexpr std::array<std::string_view, kXsTypeCount> kXsTypeNames{"CONTROL",
                                                                         "DIRECTORY",
                                                                         "READ",
                                                                         "GET_PERMS",
                                                                         "WATCH",
                                                                         "UNWATCH",
                                                                         "TRANSACTION_START",
                                                                         "TRANSACTION_END",
                                                                         "INTRODUCE",
                                                                         "RELEASE",
                                                                         "GET_DOMAIN_PATH",
                                                                         "WRITE",
                                                                         "MKDIR",
                                                                         "RM",
                                                                         "SET_PERMS",
                                                                         "WATCH_EVENT",
                                                                         "ERROR",
                                                                         "IS_DOMAIN_INTRODUCED",
                                                                         "RESUME",
                                                                         "SET_TARGET",
                                                                         "",
                                                                         "RESET_WATCHES",
                                                                         "DIRECTORY_PART",
                                                                         "GET_FEATURE",
                                                                         "SET_FEATURE",
                                                                         "GET_QUOTA",
                                                                         "SET_QUOTA"};
static_assert(kXsTypeNames[XS_DIRECTORY_PART] == "DIRECTORY_PART" && kXsTypeNames[kXsSetQuota] == "SET_QUOTA");

// Bits of server_features in the ring page: xs_wire.h of Xen 4.21; "WATCH can take a third parameter limiting its
// scope" (docs/misc/xenstore-ring.txt).
inline constexpr uint32_t kXenstoreFeatureReconnection = XENSTORE_SERVER_FEATURE_RECONNECTION;
inline constexpr uint32_t kXenstoreFeatureError = XENSTORE_SERVER_FEATURE_ERROR;
inline constexpr uint32_t kXenstoreFeatureWatchDepth = 4;

}  // namespace xenopolis
