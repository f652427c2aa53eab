#include "common/comparison.h"
#include "run.h"

namespace xenopolis::bench {
namespace {

const std::vector<Plot>& all_plots() {
  static const std::vector<Plot> plots = {
      {"xenstore-single",
       "One request after the other",
       "single",
       nullptr,
       "us",
       1e3,
       {{"read_p50_ns", "read"},
        {"write_p50_ns", "write"},
        {"directory_p50_ns", "directory"},
        {"get_perms_p50_ns", "get_perms"},
        {"mkdir_rm_p50_ns", "mkdir + rm"},
        {"watch_unwatch_p50_ns", "watch + unwatch"}}},
      {"xenstore-cpu",
       "CPU time of the daemon for them",
       "single",
       nullptr,
       "us",
       1e3,
       {{"read_daemon_cpu_ns", "read"},
        {"write_daemon_cpu_ns", "write"},
        {"directory_daemon_cpu_ns", "directory"},
        {"get_perms_daemon_cpu_ns", "get_perms"},
        {"mkdir_rm_daemon_cpu_ns", "mkdir + rm"},
        {"watch_unwatch_daemon_cpu_ns", "watch + unwatch"}}},
      {"xenstore-pipelined",
       "Pipelined requests",
       "pipelined",
       nullptr,
       "thousand a second",
       1e3,
       {{"read_requests_per_s", "read"}, {"write_requests_per_s", "write"}}},
      {"xenstore-conflict",
       "Clients in conflict",
       "conflict",
       nullptr,
       "commits a second",
       1,
       {{"counter_commits_per_s", "a counter"}, {"siblings_commits_per_s", "siblings"}}},
      {"xenstore-watches",
       "A write that fires one watch of many",
       "watches",
       "watches",
       "us",
       1e3,
       {{"write_fires_one_p50_ns", ""}}},
      {"xenstore-connections",
       "A read beside idle connections",
       "connections",
       "connections",
       "us",
       1e3,
       {{"read_p50_ns", ""}}},
      {"xenstore-create", "Creating a domain beside others", "create", "guests", "ms", 1e6, {{"create_p50_ns", ""}}},
      {"xenstore-rings",
       "Reads of a guest, and its watch, beside other guests",
       "rings",
       "guests",
       "us",
       1e3,
       {{"guest_read_p50_ns", ", read"}, {"guest_watch_p50_ns", ", watch"}}},
      {"xenstore-memory", "Resident memory", "memory", "guests", "MB", 1e6, {{"resident_bytes", ""}}},
  };
  return plots;
}

}  // namespace

bool draw_plots(const nlohmann::json& figures, const std::string& directory) {
  return draw_plots(all_plots(), figures, directory);
}

}  // namespace xenopolis::bench
