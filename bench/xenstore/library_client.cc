#include "library_client.h"

#include <vector>

namespace xenopolis::bench {

void LibraryClient::perform(const NodeRequest& request, xs_transaction_t transaction) {
  switch (request.type) {
    case XS_WRITE:
      return write(request.path, request.value, transaction);
    case XS_MKDIR:
      return make_directory(request.path, transaction);
    case XS_RM:
      return remove(request.path, transaction);
    default:
      break;
  }
  std::vector<xs_permissions> perms;
  for (const std::string& entry : request.perms) {
    const unsigned access = entry[0] == 'r' ? XS_PERM_READ : XS_PERM_NONE;
    perms.push_back({static_cast<unsigned>(std::stoul(entry.substr(1))), access});
  }
  done(xs_set_permissions(get(), transaction, request.path.c_str(), perms.data(), static_cast<unsigned>(perms.size())),
       "set_perms", request.path);
}

}  // namespace xenopolis::bench
