// What a toolstack writes for one domain: the requests of libxl for a PV domain with a console, a disk and a network
// interface, as a list, so that it can be played through libxenstore as well as pipelined.
#pragma once

#include <string>
#include <vector>

#include "raw_client.h"

namespace xenopolis::bench {

struct NodeRequest {
  uint32_t type;  // XS_MKDIR, XS_WRITE, XS_RM, XS_SET_PERMS
  std::string path;
  std::string value = {};               // XS_WRITE
  std::vector<std::string> perms = {};  // XS_SET_PERMS: "n0", "r5"
};

// In one transaction.
std::vector<NodeRequest> requests_in_transaction(DomId domid);
// After it, before INTRODUCE.
std::vector<NodeRequest> requests_after_transaction(DomId domid);
// When the domain has been released.
std::vector<NodeRequest> requests_of_removal(DomId domid);

std::string to_message(const NodeRequest& request);

inline std::string home_of(DomId domid) {
  return "/local/domain/" + std::to_string(domid);
}

}  // namespace xenopolis::bench
