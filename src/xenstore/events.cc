// Who is told of what.
#include "xenstore/server.h"
#include "xenstore/work.h"

namespace xenopolis::xenstore {
namespace {

// What a guest's request may cost by the events that it fires, before the rest waits for turns.
constexpr uint64_t kEventWorkAtOnce = 8 * kWorkPerTurn;

}  // namespace

// Those whom `perms` may let hear: the candidates, whose rights are looked at one by one. Who has a domain of them as
// target is one too.
void Server::let_hear(const Perms* perms) {
  if (perms == nullptr) return;
  if ((perms->entries.front().access & kAccessRead) != 0) return hearers_.add_everyone();
  for (size_t i = 0; i < perms->entries.size(); ++i) {
    const PermEntry& entry = perms->entries[i];
    if (entry.domid == kDom0 || (i > 0 && (entry.access & kAccessRead) == 0)) continue;
    hearers_.add(entry.domid);
    const auto domain = domains_.find(entry.domid);
    if (domain == domains_.end()) continue;
    for (const DomId holder : domain->second.targeted_by) hearers_.add(holder);
  }
}

bool Server::may_hear(const Watch& watch, const Perms* perms) const {
  count_work(1);
  return perms != nullptr && (access_of(*perms, watch.connection.subject(), store_.released()) & kAccessRead) != 0;
}

void Server::fire(Watch& watch, std::string_view path) {
  if (trace_.traces(TraceKind::kMessages)) {
    trace_.write("io: EVENT d{} {} {}", watch.domid, path, watch.token);
  }
  watch.connection.fire(watch, path);
}

// A client learns of a change if it may read the node, before or after the change, or the node's parent. Each event
// says the path that changed; of a removed subtree those who watch its root or above hear once, and those who watch
// something within hear of that.
void Server::fire_change(const Change& change) {
  if (trace_.traces(TraceKind::kStore)) trace_.write("tdb: {} {}", change.removed ? "delete" : "store", change.path);
  hearers_.clear();
  for (const Perms* perms : {change.old_perms.get(), change.perms.get(), change.parent_perms.get()}) let_hear(perms);
  watches_.for_each_matching(change.path, hearers_, [&](Watch& watch) {
    if (may_hear(watch, change.old_perms.get()) || may_hear(watch, change.perms.get()) ||
        may_hear(watch, change.parent_perms.get())) {
      fire(watch, change.path);
    }
  });
  if (!change.removed) return;
  watches_.for_each_removed(change.path, *change.removed,
                            [&](const WatchPlace& place, const Node& node, const Node& parent) {
                              hearers_.clear();
                              let_hear(node.perms.get());
                              let_hear(parent.perms.get());
                              place.for_each(hearers_, 0, [&](Watch& watch) {
                                if (may_hear(watch, node.perms.get()) || may_hear(watch, parent.perms.get())) {
                                  fire(watch, watch.path);
                                }
                              });
                            });
}

void Server::fire_changes(std::vector<Change> changes, DomId writer) {
  if (is_repeating_) return;
  const auto known = backlogs_.find(writer);
  if (known != backlogs_.end()) return known->second->append(changes.begin(), changes.end());
  const uint64_t end = work_done + kEventWorkAtOnce;
  for (auto change = changes.begin(); change != changes.end(); ++change) {
    if (writer != kDom0 && work_done >= end) {
      Backlog& backlog = add_backlog(writer);
      backlog.append(change, changes.end());
      ready_.push(backlog);
      return;
    }
    fire_change(*change);
  }
}

Backlog& Server::add_backlog(DomId writer) {
  const auto connection = [this, writer]() -> Connection* {
    const auto domain = domains_.find(writer);
    return domain == domains_.end() ? nullptr : &domain->second.transport->connection();
  };
  if (Connection* writing = connection()) writing->hold();
  const auto done = [this, writer, connection] {
    if (Connection* held = connection()) held->resume();
    backlogs_.erase(writer);
  };
  auto backlog = std::make_unique<Backlog>([this](const Change& change) { fire_change(change); }, done);
  return *backlogs_.emplace(writer, std::move(backlog)).first->second;
}

// A watch with <depth> 1 or more hears the domain's name instead of the plain one, and one with <depth> 0 nothing
// (xenstore.txt, WATCH; for 0: xenstored's watch.c).
void Server::fire_special(std::string_view name, DomId domid) {
  const auto fire_at = [&](std::string_view place_name, const PermsRef perms, uint32_t depth, auto&& say) {
    const WatchPlace* place = watches_.find_special(place_name);
    if (place == nullptr) return;
    hearers_.clear();
    let_hear(perms.get());
    place->for_each(hearers_, depth, [&](Watch& watch) {
      if (may_hear(watch, perms.get())) say(watch);
    });
  };
  const std::string with_domain = special_of_domain(name, domid);
  const PermsRef& domain_perms = specials_.perms_of(with_domain);
  fire_at(name, specials_.perms_of(name), kAnyDepth, [&](Watch& watch) { fire(watch, name); });
  fire_at(name, domain_perms, 1, [&](Watch& watch) {
    if (watch.depth != kAnyDepth) fire(watch, with_domain);
  });
  fire_at(with_domain, domain_perms, 0, [&](Watch& watch) { fire(watch, with_domain); });
}

// Who watches hears of nobody's watches but others': its own it knows, and many of them would be as many events.
void Server::fire_client_watch(const Connection& client, std::string_view path) {
  if (client.subject().domid != kDom0) return;
  const WatchPlace* place = watches_.find_special(kClientWatch);
  if (place == nullptr) return;
  hearers_.clear();  // Dom0 alone
  place->for_each(hearers_, 0, [&](Watch& watch) {
    if (&watch.connection != &client) fire(watch, path);
  });
}

// As for a node, whoever watches a special name hears that its rights changed.
void Server::fire_special_perms(std::string_view name, const Perms& old_perms) {
  const WatchPlace* place = watches_.find_special(name);
  if (place == nullptr) return;
  const PermsRef perms = specials_.perms_of(name);
  hearers_.clear();
  let_hear(&old_perms);
  let_hear(perms.get());
  place->for_each(hearers_, 0, [&](Watch& watch) {
    if (may_hear(watch, &old_perms) || may_hear(watch, perms.get())) fire(watch, name);
  });
}

}  // namespace xenopolis::xenstore
