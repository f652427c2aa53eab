#include "domain_nodes.h"

#include <fmt/format.h>

namespace xenopolis::bench {
namespace {

class List {
 public:
  void remake(const std::string& path, const std::vector<std::string>& perms) {
    requests.push_back({XS_RM, path});
    make(path, perms);
  }
  void make(const std::string& path, const std::vector<std::string>& perms) {
    requests.push_back({XS_MKDIR, path});
    set_perms(path, perms);
  }
  void set_perms(const std::string& path, const std::vector<std::string>& perms) {
    requests.push_back({.type = XS_SET_PERMS, .path = path, .perms = perms});
  }
  void write(const std::string& path, const std::string& value) { requests.push_back({XS_WRITE, path, value}); }

  std::vector<NodeRequest> requests;
};

std::string uuid_of(DomId domid) {
  return fmt::format("5f3a7c1e-0b64-4d0f-9a51-{:012x}", domid);
}

}  // namespace

std::vector<NodeRequest> requests_in_transaction(DomId domid) {
  const std::string home = home_of(domid);
  const std::string machine = "/vm/" + uuid_of(domid);
  const std::string private_home = fmt::format("/libxl/{}", domid);
  const std::string owner = fmt::format("n{}", domid), reader = fmt::format("r{}", domid);
  List list;
  list.remake(home, {"n0", reader});
  list.remake(machine, {"n0", reader});
  list.remake(private_home, {"n0"});
  list.write(home + "/vm", machine);
  list.write(home + "/name", fmt::format("guest-{}", domid));
  list.make(home + "/cpu", {"n0", reader});
  list.make(home + "/memory", {"n0", reader});
  list.make(home + "/device", {"n0", reader});
  list.make(home + "/control", {"n0", reader});
  list.make(home + "/control/shutdown", {owner});
  list.make(home + "/control/feature-poweroff", {owner});
  list.make(home + "/data", {owner});
  list.make(home + "/drivers", {owner});
  list.make(home + "/attr", {owner});
  list.make(home + "/error", {owner});
  list.write(machine + "/uuid", uuid_of(domid));
  list.write(machine + "/name", fmt::format("guest-{}", domid));
  list.write(machine + "/image/ostype", "linux");
  list.write(machine + "/start_time", "1700000000.25");
  list.write(private_home + "/type", "pv");
  list.write(home + "/domid", std::to_string(domid));
  list.write(home + "/control/platform-feature-multiprocessor-suspend", "1");
  list.write(home + "/memory/static-max", "262144");
  list.write(home + "/memory/target", "262144");
  list.write(home + "/cpu/0/availability", "online");
  list.write(home + "/store/port", "1");
  list.write(home + "/store/ring-ref", "1044476");
  list.write(home + "/console/backend-id", "0");
  list.write(home + "/console/limit", "1048576");
  list.write(home + "/console/type", "xenconsoled");
  list.write(home + "/console/port", "2");
  list.write(home + "/console/ring-ref", "1044475");
  for (const auto& [kind, device] : {std::pair("vif", "0"), std::pair("vbd", "51712")}) {
    const std::string front = fmt::format("{}/device/{}/{}", home, kind, device);
    const std::string back = fmt::format("/local/domain/0/backend/{}/{}/{}", kind, domid, device);
    list.make(front, {owner, "r0"});
    list.make(back, {"n0", reader});
    list.write(front + "/backend", back);
    list.write(front + "/backend-id", "0");
    list.write(front + "/state", "1");
    list.write(back + "/frontend", front);
    list.write(back + "/frontend-id", std::to_string(domid));
    list.write(back + "/online", "1");
    list.write(back + "/state", "1");
    list.write(private_home + fmt::format("/device/{}/{}/backend", kind, device), back);
  }
  return std::move(list.requests);
}

std::vector<NodeRequest> requests_after_transaction(DomId domid) {
  List list;
  list.set_perms(home_of(domid) + "/store", {"n0", fmt::format("r{}", domid)});
  list.set_perms(home_of(domid) + "/console", {"n0", fmt::format("r{}", domid)});
  return std::move(list.requests);
}

std::vector<NodeRequest> requests_of_removal(DomId domid) {
  std::vector<NodeRequest> requests;
  for (const std::string& path :
       {fmt::format("/local/domain/0/backend/vif/{}", domid), fmt::format("/local/domain/0/backend/vbd/{}", domid),
        home_of(domid), fmt::format("/libxl/{}", domid), "/vm/" + uuid_of(domid)}) {
    requests.push_back({XS_RM, path});
  }
  return requests;
}

std::string to_message(const NodeRequest& request) {
  std::string payload = terminated(request.path);
  if (request.type == XS_WRITE) payload += request.value;
  for (const std::string& entry : request.perms) payload += terminated(entry);
  return message(request.type, payload);
}

}  // namespace xenopolis::bench
