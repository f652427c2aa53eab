// What `polis top` shows: domains with what they do per second, sorted and filtered.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "cli/domain_list.h"

namespace xenopolis::cli {

struct TopRow {
  ListedDomain domain;
  // Between the last two samples; in the first one since the domain's creation.
  double cpu_percent = 0;  // of one CPU
  double exits_per_s = 0;
  double hypercalls_per_s = 0;
  double upcalls_per_s = 0;
};

enum class TopOrder { kCpu, kTime, kMemory, kExits, kHypercalls, kUpcalls, kUptime, kName, kDomid };

// "cpu", "time", "memory", "exits", "hypercalls", "upcalls", "uptime", "name", "id".
inline constexpr std::string_view kTopOrderNames[] = {"cpu",     "time",   "memory", "exits", "hypercalls",
                                                      "upcalls", "uptime", "name",   "id"};
std::optional<TopOrder> top_order_named(std::string_view name);

class TopSampler {
 public:
  // `now_ns` of CLOCK_MONOTONIC.
  std::vector<TopRow> sample(std::vector<ListedDomain> domains, uint64_t now_ns);

 private:
  struct Counters {
    uint64_t created_ns;  // tells who has a domid now from who had it
    uint64_t cpu_time_ns, exits, hypercalls, upcalls;
  };
  uint64_t last_ns_ = 0;
  std::unordered_map<DomId, Counters> last_;
};

// The greatest first, names and domids in their order; `reverse`: the opposite. Equals by domid.
void sort_rows(std::vector<TopRow>& rows, TopOrder order, bool reverse);
// Those whose name contains `text`, in whatever case, or whose domid it is.
std::vector<TopRow> matching(const std::vector<TopRow>& rows, std::string_view text);

inline constexpr size_t kTopNameWidth = 24;
// What the names of these need, and where that is more than a screen of `columns` has, what leaves room for the rest.
size_t top_name_width(const std::vector<TopRow>& rows, size_t columns);

// Lines of the same columns; `now_s` of the calendar. Longer names lose their middle; without a `name_width` they are
// whole, and push the rest of their line aside.
std::string top_header(size_t name_width = kTopNameWidth);
std::string top_line(const TopRow& row, int64_t now_s, std::optional<size_t> name_width = std::nullopt);
// "3000 domains: 2990 live, 3 paused, 7 shut down; 12.5 % of a CPU".
std::string top_summary(const std::vector<TopRow>& rows);
nlohmann::json to_json(const TopRow& row);

}  // namespace xenopolis::cli
