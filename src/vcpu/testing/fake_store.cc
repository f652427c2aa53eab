#include "vcpu/testing/fake_store.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace xenopolis::vcpu::testing {
namespace {

uint32_t load(const uint32_t& index) {
  return __atomic_load_n(&index, __ATOMIC_ACQUIRE);
}
void store(uint32_t& index, uint32_t value) {
  __atomic_store_n(&index, value, __ATOMIC_RELEASE);
}

std::vector<std::string> split(const std::string& payload) {
  std::vector<std::string> parts;
  for (size_t at = 0; at < payload.size();) {
    const size_t end = std::min(payload.find('\0', at), payload.size());
    parts.push_back(payload.substr(at, end - at));
    at = end + 1;
  }
  parts.resize(std::max<size_t>(parts.size(), 2));
  return parts;
}

const std::string kNul(1, '\0');

}  // namespace

bool FakeStore::serve() {
  bool notify = receive();
  while (input_.size() >= sizeof(xsd_sockmsg)) {
    xsd_sockmsg request;
    std::memcpy(&request, input_.data(), sizeof request);
    if (request.len > XENSTORE_PAYLOAD_MAX) {
      input_.clear();  // a guest of a test that writes garbage on purpose
      break;
    }
    if (input_.size() < sizeof request + request.len) break;
    execute(request, input_.substr(sizeof request, request.len));
    input_.erase(0, sizeof request + request.len);
  }
  if (transmit()) notify = true;
  return notify;
}

bool FakeStore::receive() {
  const uint32_t producer = load(ring_->req_prod);
  uint32_t consumer = ring_->req_cons;
  if (producer == consumer || producer - consumer > XENSTORE_RING_SIZE) return false;
  for (; consumer != producer; ++consumer) input_ += ring_->req[consumer & (XENSTORE_RING_SIZE - 1)];
  store(ring_->req_cons, consumer);
  return true;
}

bool FakeStore::transmit() {
  const uint32_t consumer = load(ring_->rsp_cons);
  uint32_t producer = ring_->rsp_prod;
  if (output_.empty() || producer - consumer > XENSTORE_RING_SIZE) return false;
  const size_t room = XENSTORE_RING_SIZE - (producer - consumer);
  const size_t count = std::min(room, output_.size());
  for (size_t i = 0; i < count; ++i) ring_->rsp[producer++ & (XENSTORE_RING_SIZE - 1)] = output_[i];
  output_.erase(0, count);
  store(ring_->rsp_prod, producer);
  return count > 0;
}

void FakeStore::answer(const xsd_sockmsg& request, const std::string& payload) {
  xsd_sockmsg header = request;
  header.len = static_cast<uint32_t>(payload.size());
  output_.append(reinterpret_cast<const char*>(&header), sizeof header);
  output_ += payload;
}

void FakeStore::refuse(const xsd_sockmsg& request, const char* error) {
  xsd_sockmsg header = request;
  header.type = XS_ERROR;
  answer(header, error + kNul);
}

void FakeStore::fire(const Watch& watch, const std::string& path) {
  xsd_sockmsg header{};
  header.type = XS_WATCH_EVENT;
  answer(header, path + kNul + watch.token + kNul);
}

void FakeStore::write(const std::string& path, const std::string& value) {
  nodes_[path] = value;
  for (const Watch& watch : watches_) {
    if (path == watch.path || path.starts_with(watch.path + "/")) fire(watch, path);
  }
}

std::string FakeStore::read(const std::string& path) const {
  const auto found = nodes_.find(path);
  return found == nodes_.end() ? "" : found->second;
}

std::string FakeStore::directory(const std::string& path) const {
  std::set<std::string> names;
  for (const auto& [node, value] : nodes_) {
    if (!node.starts_with(path + "/")) continue;
    const std::string rest = node.substr(path.size() + 1);
    names.insert(rest.substr(0, rest.find('/')));
  }
  std::string list;
  for (const std::string& name : names) list += name + kNul;
  return list;
}

void FakeStore::execute(const xsd_sockmsg& request, const std::string& payload) {
  const std::vector<std::string> parts = split(payload);
  const std::string ok = "OK" + kNul;
  switch (request.type) {
    case XS_READ:
      return nodes_.contains(parts[0]) ? answer(request, nodes_[parts[0]]) : refuse(request, "ENOENT");
    case XS_DIRECTORY:
      return answer(request, directory(parts[0]));
    case XS_WRITE:
      answer(request, ok);
      return write(parts[0], parts[1]);
    case XS_MKDIR:
      nodes_.try_emplace(parts[0]);
      return answer(request, ok);
    case XS_RM:
      nodes_.erase(parts[0]);
      return answer(request, ok);
    case XS_WATCH:
      watches_.push_back({parts[0], parts[1]});
      answer(request, ok);
      return fire(watches_.back(), parts[0]);
    case XS_UNWATCH:
      std::erase_if(watches_, [&](const Watch& watch) { return watch.path == parts[0] && watch.token == parts[1]; });
      return answer(request, ok);
    case XS_TRANSACTION_START:
      return answer(request, "1" + kNul);
    case XS_TRANSACTION_END:
    case XS_SET_PERMS:
      return answer(request, ok);
    default:
      return refuse(request, "ENOSYS");
  }
}

}  // namespace xenopolis::vcpu::testing
