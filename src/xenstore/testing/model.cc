#include "xenstore/testing/model.h"

#include <algorithm>

namespace xenopolis::xenstore::model {
namespace {

constexpr uint8_t kRead = 1;
constexpr uint8_t kWrite = 2;
constexpr uint8_t kOwner = 4;

std::vector<std::string> split(const std::string& payload) {
  std::vector<std::string> strings(1);
  for (const char c : payload) {
    if (c == '|') {
      strings.emplace_back();
    } else {
      strings.back().push_back(c);
    }
  }
  strings.pop_back();
  return strings;
}

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

bool is_below_or_at(const std::string& path, const std::string& above) {
  return path == above || above == "/" || path.starts_with(above + "/");
}

std::optional<uint8_t> access_of_letter(char letter) {
  switch (letter) {
    case 'n':
      return uint8_t{0};
    case 'r':
      return kRead;
    case 'w':
      return kWrite;
    case 'b':
      return uint8_t{kRead | kWrite};
    default:
      return std::nullopt;
  }
}

std::string text_of(const ModelPerms& perms) {
  const auto one = [](DomId domid, uint8_t access) { return "nrwb"[access] + std::to_string(domid) + "|"; };
  std::string text = one(perms.owner, perms.others);
  for (const auto& [domid, access] : perms.entries) text += one(domid, access);
  return text;
}

std::optional<ModelPerms> perms_of(const std::string& text) {
  ModelPerms perms;
  bool is_first = true;
  for (const std::string& one : split(text)) {
    const auto access = one.empty() ? std::nullopt : access_of_letter(one[0]);
    if (!access || one.size() < 2 || one.find_first_not_of("0123456789", 1) != std::string::npos) return std::nullopt;
    const auto domid = static_cast<DomId>(std::stoul(one.substr(1)));
    if (is_first) {
      perms.owner = domid;
      perms.others = *access;
    } else {
      perms.entries.emplace_back(domid, *access);
    }
    is_first = false;
  }
  if (is_first) return std::nullopt;
  return perms;
}

}  // namespace

Model::Model(const ModelQuota& quota) : quota_(quota) {
  for (const char* path : {"/", "/tool", "/tool/xenstored"}) tree_[path] = {};
  for (const char* name : {"@introduceDomain", "@releaseDomain"}) specials_[name] = {};
}

void Model::add_client(unsigned client, DomId domid) {
  clients_[client] = Client{domid, std::nullopt, {}, {}};
}

uint8_t Model::access(const Client& client, const ModelPerms& perms) {
  if (client.domid == 0) return kRead | kWrite | kOwner;
  const auto is_client = [&](DomId domid) { return domid == client.domid || domid == client.target; };
  if (is_client(perms.owner) && !perms.is_owner_dead) return kRead | kWrite | kOwner;
  for (const auto& [domid, access] : perms.entries) {
    if (is_client(domid)) return access;
  }
  return perms.others;
}

std::string Model::nearest(const ModelTree& tree, const std::string& path) {
  std::string at = path;
  while (!tree.contains(at)) at = parent_of(at);
  return at;
}

int64_t Model::count_owned(const ModelTree& tree, DomId domid) {
  return std::count_if(tree.begin(), tree.end(), [&](const auto& entry) { return entry.second.perms.owner == domid; });
}

std::optional<std::string> Model::absolute(const std::string& given, DomId domid) {
  if (given.empty() || given[0] == '@') return std::nullopt;
  const std::string path = given[0] == '/' ? given : "/local/domain/" + std::to_string(domid) + "/" + given;
  if (path.find("//") != std::string::npos || (path.size() > 1 && path.back() == '/')) return std::nullopt;
  for (const char c : path) {
    if (!isalnum(static_cast<unsigned char>(c)) && std::string_view("-/_@").find(c) == std::string_view::npos) {
      return std::nullopt;
    }
  }
  return path;
}

void Model::tell(Place& place, const std::string& path, const std::vector<const ModelPerms*>& readable_by, bool exactly,
                 bool must) {
  if (place.events == nullptr) return;
  for (const auto& [number, client] : clients_) {
    const bool may = std::any_of(readable_by.begin(), readable_by.end(), [&, &them = client](const ModelPerms* perms) {
      return perms != nullptr && (access(them, *perms) & kRead) != 0;
    });
    if (!may) continue;
    for (const Watch& watch : client.watches) {
      if (exactly ? path != watch.path : !is_below_or_at(path, watch.path)) continue;
      place.events->push_back({number, path.substr(watch.hidden) + "|" + watch.token + "|", must});
    }
  }
}

void Model::tell_special(const std::string& name, std::vector<ModelEvent>& events) {
  for (const auto& [number, client] : clients_) {
    if ((access(client, specials_.at(name)) & kRead) == 0) continue;
    for (const Watch& watch : client.watches) {
      if (watch.path == name) events.push_back({number, name + "|" + watch.token + "|", true});
    }
  }
}

std::string Model::write(const Client& client, Place& place, const std::string& path, const std::string* value) {
  const std::string at = nearest(place.tree, path);
  if ((access(client, place.tree[at].perms) & kWrite) == 0) return "EACCES";
  const bool is_guest = client.domid != 0;
  const bool is_new = at != path;
  if (!is_new && value == nullptr) return "OK|";
  if (is_guest && value != nullptr && value->size() >= quota_.value_too_large) return "ENOSPC";
  if (is_new) {
    std::vector<std::string> missing;
    for (std::string each = path; each != at; each = parent_of(each)) missing.insert(missing.begin(), each);
    if (is_guest && place.tree[at].value.size() >= quota_.value_too_large) return "ENOSPC";
    if (is_guest && place.owned + static_cast<int64_t>(missing.size()) > quota_.nodes) return "ENOSPC";
    for (const std::string& each : missing) {
      ModelPerms perms = place.tree[parent_of(each)].perms;
      if (is_guest) {
        perms.is_owner_dead = perms.is_owner_dead && perms.owner == client.domid;
        perms.owner = client.domid;
      }
      place.tree[each] = {"", perms};
    }
  }
  if (value != nullptr) place.tree[path].value = *value;
  const ModelPerms* parent = path == "/" ? nullptr : &place.tree[parent_of(path)].perms;
  tell(place, path, {&place.tree[path].perms, parent}, false);
  return "OK|";
}

std::string Model::remove(const Client& client, Place& place, const std::string& path) {
  const std::string at = nearest(place.tree, path);
  if ((access(client, place.tree[at].perms) & kWrite) == 0) return "EACCES";
  if (at != path) return at == parent_of(path) ? "OK|" : "ENOENT";
  if (path == "/") return "EINVAL";
  const ModelTree before = place.tree;
  std::erase_if(place.tree, [&](const auto& entry) { return is_below_or_at(entry.first, path); });
  for (const auto& [each, node] : before) {
    if (!is_below_or_at(each, path)) continue;
    tell(place, each, {&node.perms, &before.at(parent_of(each)).perms}, each != path);
  }
  return "OK|";
}

std::string Model::set_perms(const Client& client, Place& place, const std::string& path, const std::string& text) {
  const std::string at = nearest(place.tree, path);
  const uint8_t allowed = access(client, place.tree[at].perms);
  if (at != path) return (allowed & kWrite) != 0 ? "ENOENT" : "EACCES";
  if ((allowed & kWrite) == 0 || (allowed & kOwner) == 0) return "EACCES";
  const auto perms = perms_of(text);
  ModelNode& node = place.tree[path];
  if (client.domid != 0 && perms->owner != node.perms.owner) return "EPERM";
  if (client.domid != 0 && node.value.size() >= quota_.value_too_large) return "ENOSPC";
  const ModelPerms before = std::exchange(node.perms, *perms);
  const ModelPerms* parent = path == "/" ? nullptr : &place.tree[parent_of(path)].perms;
  tell(place, path, {&before, &node.perms, parent}, false);
  return "OK|";
}

std::string Model::watch(Client& client, unsigned number, const std::string& payload, std::vector<ModelEvent>& events) {
  const auto strings = split(payload);
  if (strings.size() != 2) return "EINVAL";
  const auto path = strings[0].starts_with("@") ? strings[0] : absolute(strings[0], client.domid);
  if (!path) return "EINVAL";
  for (const Watch& each : client.watches) {
    if (each.path == *path && each.token == strings[1]) return "EEXIST";
  }
  client.watches.push_back({*path, strings[1], path->size() - strings[0].size()});
  events.push_back({number, strings[0] + "|" + strings[1] + "|", true});
  return "OK|";
}

std::string Model::unwatch(Client& client, const std::string& payload) {
  const auto strings = split(payload);
  if (strings.size() != 2) return "EINVAL";
  const auto path = strings[0].starts_with("@") ? strings[0] : absolute(strings[0], client.domid);
  if (!path) return "EINVAL";
  const auto known = std::find_if(client.watches.begin(), client.watches.end(),
                                  [&](const Watch& each) { return each.path == *path && each.token == strings[1]; });
  if (known == client.watches.end()) return "ENOENT";
  client.watches.erase(known);
  return "OK|";
}

std::string Model::special(const Client& client, const Request& request, const std::string& name,
                           const std::string& rest, std::vector<ModelEvent>& events) {
  if (request.type == XS_SET_PERMS && !perms_of(rest)) return "EINVAL";
  const auto known = specials_.find(name);
  if (known == specials_.end() || (request.type != XS_GET_PERMS && request.type != XS_SET_PERMS)) return "EINVAL";
  const uint8_t allowed = access(client, known->second);
  if (request.type == XS_GET_PERMS) return (allowed & kRead) != 0 ? text_of(known->second) : "EACCES";
  if ((allowed & kWrite) == 0 || (allowed & kOwner) == 0) return "EACCES";
  const auto perms = perms_of(rest);
  if (client.domid != 0 && perms->owner != known->second.owner) return "EPERM";
  const ModelPerms before = std::exchange(known->second, *perms);
  for (const auto& [number, each] : clients_) {
    if ((access(each, before) & kRead) == 0 && (access(each, known->second) & kRead) == 0) continue;
    for (const Watch& watch : each.watches) {
      if (watch.path == name) events.push_back({number, name + "|" + watch.token + "|", true});
    }
  }
  return "OK|";
}

std::string Model::set_target(const std::string& payload) {
  const auto strings = split(payload);
  const auto domid = static_cast<DomId>(std::stoul(strings[0]));
  const auto target = static_cast<DomId>(std::stoul(strings[1]));
  if (!introduced_.contains(domid) || !introduced_.contains(target)) return "ENOENT";
  clients_.at(introduced_.at(domid)).target = target;
  return "OK|";
}

std::string Model::carry_out(const Request& request, Place place) {
  const Client& client = clients_.at(request.client);
  const size_t bar = request.payload.find('|');
  const std::string given = request.payload.substr(0, bar);
  const std::string rest = bar == std::string::npos ? "" : request.payload.substr(bar + 1);
  if (request.type == XS_SET_PERMS && !perms_of(rest)) return "EINVAL";
  const auto path = absolute(given, client.domid);
  if (!path) return "EINVAL";
  switch (request.type) {
    case XS_WRITE:
      return write(client, place, *path, &rest);
    case XS_MKDIR:
      return write(client, place, *path, nullptr);
    case XS_RM:
      return remove(client, place, *path);
    case XS_SET_PERMS:
      return set_perms(client, place, *path, rest);
    default:
      break;
  }
  const std::string at = nearest(place.tree, *path);
  if ((access(client, place.tree[at].perms) & kRead) == 0) return "EACCES";
  if (at != *path) return "ENOENT";
  if (request.type == XS_READ) return place.tree[at].value;
  if (request.type == XS_GET_PERMS) return text_of(place.tree[at].perms);
  std::string names;  // XS_DIRECTORY
  for (const auto& [each, node] : place.tree) {
    if (each != "/" && parent_of(each) == at) names += each.substr(each.rfind('/') + 1) + "|";
  }
  return names;
}

ModelReply Model::ask(const Request& request) {
  Client& client = clients_.at(request.client);
  ModelReply reply;
  switch (request.type) {
    case XS_WATCH:
      reply.text = watch(client, request.client, request.payload, reply.events);
      return reply;
    case XS_UNWATCH:
      reply.text = unwatch(client, request.payload);
      return reply;
    case XS_RESET_WATCHES:
      client.watches.clear();
      client.transactions.clear();
      reply.text = "OK|";
      return reply;
    case XS_SET_TARGET:
      reply.text = client.domid == 0 ? set_target(request.payload) : "EACCES";
      return reply;
    case XS_IS_DOMAIN_INTRODUCED: {
      const auto domid = static_cast<DomId>(std::stoul(request.payload));
      reply.text = client.domid != 0 ? "EACCES" : domid == 0 || introduced_.contains(domid) ? "T|" : "F|";
      return reply;
    }
    default:
      break;
  }
  const DomId domid = client.domid;
  if (request.payload.starts_with("@")) {  // what is said of special names takes effect at once
    if (request.transaction != 0 && !has_transaction(request.client, request.transaction)) {
      reply.text = "ENOENT";
      return reply;
    }
    const size_t bar = request.payload.find('|');
    reply.text =
        special(client, request, request.payload.substr(0, bar), request.payload.substr(bar + 1), reply.events);
    return reply;
  }
  if (request.transaction == 0) {
    const ModelTree before = tree_;
    reply.text = carry_out(request, {tree_, count_owned(tree_, domid), &reply.events});
    const bool is_change = request.type == XS_WRITE || request.type == XS_SET_PERMS || tree_ != before;
    if (is_change && reply.text == "OK|") ++changes_;
    return reply;
  }
  const auto known = client.transactions.find(request.transaction);
  if (known == client.transactions.end()) {
    reply.text = "ENOENT";
    return reply;
  }
  Transaction& transaction = known->second;
  const int64_t owned =
      count_owned(tree_, domid) + count_owned(transaction.view, domid) - count_owned(transaction.base, domid);
  reply.text = carry_out(request, {transaction.view, owned, nullptr});
  transaction.asked.emplace_back(request, reply.text);
  return reply;
}

ModelReply Model::start_transaction(unsigned client, uint32_t given_transaction) {
  ModelReply reply;
  if (given_transaction != 0) {
    reply.text = has_transaction(client, given_transaction) ? "EBUSY" : "ENOENT";
  } else if (clients_.at(client).domid != 0 && clients_.at(client).transactions.size() >= quota_.transactions) {
    reply.text = "ENOSPC";
  } else {
    reply.is_any = true;
  }
  return reply;
}

void Model::started(unsigned client, uint32_t transaction) {
  clients_.at(client).transactions[transaction] = Transaction{tree_, tree_, changes_, {}};
}

bool Model::has_transaction(unsigned client, uint32_t transaction) const {
  return clients_.at(client).transactions.contains(transaction);
}

ModelReply Model::end_transaction(unsigned number, uint32_t id, bool commits, bool is_done, std::string& fault) {
  ModelReply reply;
  Client& client = clients_.at(number);
  const auto known = client.transactions.find(id);
  if (known == client.transactions.end()) {
    reply.text = "ENOENT";
    return reply;
  }
  const Transaction transaction = std::move(known->second);
  client.transactions.erase(known);
  reply.text = commits && !is_done ? "EAGAIN" : "OK|";
  if (!commits) return reply;
  if (!is_done) {
    if (transaction.started_at == changes_) fault = "EAGAIN, though nothing changed since the transaction began";
    return reply;
  }
  // Now it must have seen and done what it would have if it had run alone at this moment.
  ModelTree next = tree_;
  const int64_t owned_before = count_owned(tree_, client.domid);
  bool is_plain = true;
  for (const auto& [request, seen] : transaction.asked) {
    is_plain &= request.type != XS_RM && request.type != XS_SET_PERMS;
    if (seen == "ENOSPC") continue;  // it did nothing, and no promise is made that it still would not
    const int64_t owned = owned_before + count_owned(next, client.domid) - count_owned(tree_, client.domid);
    const std::string again = carry_out(request, {next, owned, &reply.events});
    if (again != seen) {
      fault =
          "committed, though \"" + request.payload + "\" was answered \"" + seen + "\" and is now \"" + again + "\"";
    }
  }
  if (next != tree_ || !reply.events.empty()) ++changes_;
  tree_ = std::move(next);
  // What happened to one node may be told once or every time; after removals and changed rights not at all.
  std::vector<std::string> told;
  for (ModelEvent& event : reply.events) {
    const std::string key = std::to_string(event.client) + " " + event.text;
    event.must = is_plain && std::find(told.begin(), told.end(), key) == told.end();
    told.push_back(key);
  }
  return reply;
}

std::vector<std::pair<unsigned, uint32_t>> Model::transactions_that_name(DomId domid) const {
  std::vector<std::pair<unsigned, uint32_t>> found;
  for (const auto& [number, client] : clients_) {
    for (const auto& [id, transaction] : client.transactions) {
      const bool does = std::any_of(transaction.asked.begin(), transaction.asked.end(), [&](const auto& asked) {
        const auto strings = split(asked.first.payload);
        return asked.first.type == XS_SET_PERMS &&
               std::any_of(strings.begin() + 1, strings.end(),
                           [&](const std::string& perm) { return perm.substr(1) == std::to_string(domid); });
      });
      if (does) found.emplace_back(number, id);
    }
  }
  return found;
}

ModelReply Model::introduce(unsigned asking, DomId domid, unsigned guest) {
  ModelReply reply{"OK|", false, {}};
  if (clients_.at(asking).domid != 0) {
    reply.text = "EACCES";
    return reply;
  }
  introduced_[domid] = guest;
  add_client(guest, domid);
  tell_special("@introduceDomain", reply.events);
  return reply;
}

void Model::forget_rights(ModelTree& tree, DomId domid) {
  for (auto& [path, node] : tree) {
    std::erase_if(node.perms.entries, [&](const auto& entry) { return entry.first == domid; });
    if (node.perms.owner == domid) node.perms.is_owner_dead = true;
  }
}

ModelReply Model::release(unsigned asking, DomId domid) {
  ModelReply reply;
  if (clients_.at(asking).domid != 0 || !introduced_.contains(domid)) {
    reply.text = clients_.at(asking).domid != 0 ? "EACCES" : "ENOENT";
    return reply;
  }
  reply.text = "OK|";
  clients_.erase(introduced_.at(domid));
  introduced_.erase(domid);
  for (auto& [number, client] : clients_) {
    if (client.target == domid) client.target.reset();
    for (auto& [id, transaction] : client.transactions) {
      forget_rights(transaction.base, domid);
      forget_rights(transaction.view, domid);
    }
  }
  const ModelPerms old_perms = specials_.at("@releaseDomain");
  for (auto& [name, perms] : specials_) {
    std::erase_if(perms.entries, [&](const auto& entry) { return entry.first == domid; });
    if (perms.owner == domid) perms = {};
  }
  const ModelTree before = tree_;
  for (const auto& [path, node] : before) {
    if (node.perms.owner != domid) continue;
    if (path == "/") {
      tree_[path].perms = {};
      continue;
    }
    std::erase_if(tree_, [&, &top = path](const auto& entry) { return is_below_or_at(entry.first, top); });
  }
  forget_rights(tree_, domid);
  ++changes_;
  // What was removed may be told to those who could read it.
  Place place{tree_, 0, &reply.events};
  for (const auto& [path, node] : before) {
    if (tree_.contains(path) && path != "/") continue;
    tell(place, path, {&node.perms, path == "/" ? nullptr : &before.at(parent_of(path)).perms}, false, false);
  }
  // By the rights before the release or after it.
  for (const auto& [number, client] : clients_) {
    const bool before_it = (access(client, old_perms) & kRead) != 0;
    const bool after_it = (access(client, specials_.at("@releaseDomain")) & kRead) != 0;
    for (const Watch& watch : client.watches) {
      if (watch.path != "@releaseDomain" || (!before_it && !after_it)) continue;
      reply.events.push_back({number, watch.path + "|" + watch.token + "|", before_it && after_it});
    }
  }
  return reply;
}

}  // namespace xenopolis::xenstore::model
