// Requests one by one, pipelined, in transactions, and in transactions that conflict.
#include <atomic>
#include <thread>

#include "library_client.h"
#include "raw_client.h"
#include "scene.h"

namespace xenopolis::bench {
namespace {

const std::string kHome = "/local/domain/1";
const std::string kValue = kHome + "/device/vif/0/state";  // as deep as what is read and written most
const std::string kList = kHome + "/list";
const std::string kCounter = "/bench/counter";
const std::string kShared = "/bench/shared";

class RequestsScene final : public Scene {
 public:
  RequestsScene(Daemon& daemon, uint32_t clients, DaemonCpus cpus)
      : daemon_(daemon), cpus_(cpus), raw_(daemon.socket_path()) {
    library_.write(kValue, "4");
    for (int i = 0; i < 10; ++i) library_.write(fmt::format("{}/child-{}", kList, i), "");
    library_.write(kCounter, "0");
    library_.make_directory(kShared);
    library_.read(kValue);
    for (uint32_t i = 0; i < clients; ++i) rivals_.push_back(std::make_unique<LibraryClient>());
  }

  Figures measure(std::string_view measurement, double seconds) override {
    if (measurement == "single") return single(seconds);
    if (measurement == "pipelined") return pipelined(seconds);
    if (measurement == "transactions") return transactions(seconds);
    Figures figures;
    conflict(figures, "counter", seconds * 4, [](LibraryClient& client, size_t, xs_transaction_t transaction) {
      const unsigned long count = std::stoul(client.read(kCounter, transaction));
      client.write(kCounter, std::to_string(count + 1), transaction);
    });
    conflict(figures, "siblings", seconds * 4, [](LibraryClient& client, size_t rival, xs_transaction_t transaction) {
      const std::string home = fmt::format("{}/{}", kShared, rival);
      client.remove(home, transaction);
      client.write(home + "/name", "x", transaction);
    });
    return figures;
  }

 private:
  Figures single(double seconds) {
    Figures figures;
    const auto take = [&](const char* name, auto&& body) { sample(figures, daemon_.pid(), name, seconds, body); };
    take("read", [&] { library_.read(kValue); });
    take("write", [&] { library_.write(kValue, "4"); });
    take("directory", [&] { require(library_.count_children(kList) == 10, "all children are listed"); });
    take("get_perms", [&] {
      unsigned count = 0;
      const FromMalloc<xs_permissions> perms(xs_get_permissions(library_.get(), XBT_NULL, kValue.c_str(), &count));
      library_.done(perms != nullptr, "get_perms", kValue);
    });
    take("mkdir_rm", [&] {
      library_.make_directory("/bench/new");
      library_.remove("/bench/new");
    });
    // Over a handle of its own: one with a watch has a thread that reads, through which all its replies go.
    take("watch_unwatch", [&] {
      watcher_.done(xs_watch(watcher_.get(), kValue.c_str(), "token"), "watch", kValue);
      unsigned count = 0;
      const FromMalloc<char*> event(xs_read_watch(watcher_.get(), &count));
      watcher_.done(event != nullptr, "read_watch", kValue);
      watcher_.done(xs_unwatch(watcher_.get(), kValue.c_str(), "token"), "unwatch", kValue);
    });
    const std::string path = terminated(kValue);
    take("raw_read", [&] { raw_.ask(XS_READ, path); });
    // Where both sleep, and wake each other's CPU.
    const OnCpu apart(cpus_.other);
    take("read_apart", [&] { library_.read(kValue); });
    take("write_apart", [&] { library_.write(kValue, "4"); });
    return figures;
  }

  Figures pipelined(double seconds) {
    constexpr size_t kCount = 1'000;  // per look at the clock
    const OnCpu apart(cpus_.other);
    Figures figures;
    const auto take = [&](const std::string& name, const std::string& request) {
      const std::vector<std::string> requests(kCount, request);
      size_t count = 0;
      const uint64_t cpu_before = daemon_.cpu_ns(), begin = now_ns();
      uint64_t end = begin;
      for (; end < begin + static_cast<uint64_t>(seconds * 2e9); end = now_ns(), count += kCount) {
        raw_.pipeline(requests);
      }
      figures[name + "_requests_per_s"] = static_cast<double>(count) * 1e9 / static_cast<double>(end - begin);
      figures[name + "_daemon_cpu_ns"] =
          static_cast<double>(daemon_.cpu_ns() - cpu_before) / static_cast<double>(count);
    };
    take("read", message(XS_READ, terminated(kValue)));
    take("write", message(XS_WRITE, terminated(kValue) + "4"));
    return figures;
  }

  Figures transactions(double seconds) {
    Figures figures;
    sample(figures, daemon_.pid(), "empty", seconds, [&] { library_.commit(library_.begin()); });
    sample(figures, daemon_.pid(), "alone", seconds, [&] {
      const xs_transaction_t transaction = library_.begin();
      for (const auto* key : {"a", "b", "c"}) {
        library_.read(kValue, transaction);
        library_.write(kHome + "/data/" + key, "x", transaction);
      }
      require(library_.commit(transaction), "a transaction alone meets no conflict");
    });
    return figures;
  }

  // All rivals repeat the transaction for `seconds`, on the daemon's CPU, since else much of it is waking sleeping
  // CPUs. Each repeats it at once when it meets a conflict. The time of a commit is that from its first attempt.
  template <class Body>
  void conflict(Figures& figures, const std::string& name, double seconds, Body&& body) {
    struct Tally {
      std::vector<uint64_t> times;
      uint64_t in_time = 0;
      uint64_t attempts = 0;
    };
    std::vector<Tally> tallies(rivals_.size());
    std::vector<std::thread> threads;
    const uint64_t cpu_before = daemon_.cpu_ns();
    const uint64_t end = now_ns() + static_cast<uint64_t>(seconds * 1e9);
    for (size_t rival = 0; rival < rivals_.size(); ++rival) {
      threads.emplace_back([&, rival] {
        LibraryClient& client = *rivals_[rival];
        Tally& tally = tallies[rival];
        for (uint64_t begin = now_ns(); begin < end;) {
          for (bool committed = false; !committed; ++tally.attempts) {
            const xs_transaction_t transaction = client.begin();
            body(client, rival, transaction);
            committed = client.commit(transaction);
          }
          const uint64_t now = now_ns();
          tally.times.push_back(now - begin);
          tally.in_time += now <= end ? 1 : 0;
          begin = now;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    std::vector<uint64_t> times;
    double in_time = 0, attempts = 0;
    for (const Tally& tally : tallies) {
      times.insert(times.end(), tally.times.begin(), tally.times.end());
      in_time += static_cast<double>(tally.in_time);
      attempts += static_cast<double>(tally.attempts);
    }
    figures[name + "_commits_per_s"] = in_time / seconds;
    figures[name + "_attempts_per_commit"] = attempts / static_cast<double>(times.size());
    figures[name + "_daemon_cpu_ns"] =
        static_cast<double>(daemon_.cpu_ns() - cpu_before) / static_cast<double>(times.size());
    figures[name + "_commit_ns"] = std::move(times);
  }

  Daemon& daemon_;
  const DaemonCpus cpus_;
  LibraryClient library_, watcher_;
  RawClient raw_;
  std::vector<std::unique_ptr<LibraryClient>> rivals_;
};

// Longer than a message: libxenstore asks for it in parts.
class DirectoryScene final : public Scene {
 public:
  DirectoryScene(Daemon& daemon, uint32_t children) : daemon_(daemon), children_(children) {
    std::vector<std::string> requests;
    for (uint32_t i = 0; i < children; ++i) {
      requests.push_back(message(XS_WRITE, terminated(fmt::format("{}/domain-{:05}", kShared, i))));
    }
    RawClient(daemon.socket_path()).pipeline(requests);
  }

  Figures measure(std::string_view, double seconds) override {
    Figures figures;
    sample(figures, daemon_.pid(), "list", seconds,
           [&] { require(library_.count_children(kShared) == children_, "all children are listed"); });
    // One child more and one less: what domains do to /local/domain.
    sample(figures, daemon_.pid(), "mkdir_rm", seconds, [&] {
      library_.make_directory(kShared + "/new");
      library_.remove(kShared + "/new");
    });
    return figures;
  }

 private:
  Daemon& daemon_;
  const uint32_t children_;
  LibraryClient library_;
};

}  // namespace

std::unique_ptr<Scene> make_requests_scene(Daemon& daemon, uint32_t at, DaemonCpus cpus) {
  return std::make_unique<RequestsScene>(daemon, at, cpus);
}

std::unique_ptr<Scene> make_directory_scene(Daemon& daemon, uint32_t at, DaemonCpus) {
  return std::make_unique<DirectoryScene>(daemon, at);
}

}  // namespace xenopolis::bench
