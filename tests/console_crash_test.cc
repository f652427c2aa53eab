// polis-consoled is killed again and again while many guests write: their rings, what is kept of the past and the logs
// have every byte, once.
#include <atomic>
#include <chrono>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "console/history.h"
#include "console/testing/text.h"
#include "console_machine.h"

namespace xenopolis {
namespace {

constexpr unsigned kKills = 20;

uint64_t now_ns() {
  return MonotonicClock().now_ns();
}
std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}
// "VmRSS: 1234 kB" of /proc/PID/status.
uint64_t status_value(pid_t process, const std::string& key) {
  std::ifstream file(fmt::format("/proc/{}/status", process));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":")) return std::stoull(line.substr(key.size() + 1));
  }
  return 0;
}

class ConsoleCrashTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const char* seed = getenv("XENOPOLIS_SEED")) random_.seed(static_cast<unsigned>(atoi(seed)));
  }
  void create_domains(DomId count) {
    for (DomId domid = 1; domid <= count; ++domid) machine_.create_domain(domid);
    written_ = std::vector<uint64_t>(count + 1u);
  }
  DomId domains() const { return static_cast<DomId>(written_.size() - 1); }

  // As much of its text as fits; says how much that was.
  size_t write(DomId domid, size_t bytes) {
    const std::string text = console::text_of(domid, written_[domid], bytes);
    const size_t count = console::RingGuest(ConsoleMachine::ring(domid)).write(text);
    written_[domid] += count;
    if (count != 0) machine_.send_event(domid);
    return count;
  }
  // Guests that write now and then, in a thread of its own; some much more than others.
  void run_guests() {
    std::mt19937 random(random_());
    while (!is_over_) {
      size_t written = 0;
      for (unsigned turns = 0; turns < 64; ++turns) {
        const auto domid = static_cast<DomId>(1 + random() % (random() % 4 == 0 ? domains() / 10 : domains()));
        written += write(domid, random() % (domid % 7 == 0 ? 1500 : 200));
      }
      if (written < 1000) std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  template <class Condition>
  bool wait_for(Condition&& holds) {
    for (const uint64_t begin = now_ns(); now_ns() - begin < ConsoleMachine::kPatienceNs;) {
      if (holds()) return true;
      poll(nullptr, 0, 2);
    }
    return holds();
  }
  bool is_logged(DomId domid) {
    std::error_code error;
    const uint64_t size = std::filesystem::file_size(machine_.log_of(domid), error);
    return written_[domid] == 0 || (!error && size >= written_[domid]);
  }
  void expect_logs() {
    DomId slowest = 1;
    EXPECT_TRUE(wait_for([&] {
      while (slowest <= domains() && is_logged(slowest)) ++slowest;
      return slowest > domains();
    })) << "of guest "
        << slowest;
    unsigned faults = 0;
    for (DomId domid = 1; domid <= domains() && faults < 10; ++domid) {
      if (written_[domid] == 0) continue;
      const std::string log = contents(machine_.log_of(domid));
      const std::string fault = console::text_fault(domid, 0, log);
      faults += log.size() != written_[domid] || !fault.empty() ? 1 : 0;
      EXPECT_EQ(log.size(), written_[domid]) << "guest " << domid;
      EXPECT_EQ(fault, "");
    }
  }
  // What a successor would find: all that the rings have not, and in between nothing is missing.
  void expect_streams() {
    const auto history = console::History::open(console::FileContents::of(machine_.history()).make_file());
    ASSERT_TRUE(history) << history.error().message();
    for (DomId domid = 1; domid <= domains() && !HasFailure(); ++domid) {
      const auto attached = (*history)->attach({domid, 0}, 1);
      ASSERT_TRUE(attached);
      const console::Stream& stream = attached->stream;
      const xencons_interface& ring = ConsoleMachine::ring(domid);
      if (!attached->is_continued) continue;  // it was never attached
      ASSERT_EQ(stream.end() + (ring.out_prod - stream.ring_index()), written_[domid]) << "guest " << domid;
      ASSERT_LE(stream.ring_index() - ring.out_cons, console::kOutputBytes) << "guest " << domid;
      console::Cursor cursor;
      for (uint64_t missed = 0;;) {
        const uint64_t from = std::max(cursor.offset, stream.begin());
        const console::Piece piece = stream.next(cursor, missed);
        if (piece.text.empty()) break;
        ASSERT_EQ(console::text_fault(domid, from, piece.text), "");
      }
    }
  }
  void kill_it() { ASSERT_TRUE(machine_.kill_daemon()) << "polis-consoled had ended by itself"; }
  uint64_t microseconds_ns(uint64_t from, uint64_t to) { return 1000 * (from + random_() % (to - from)); }

  ConsoleMachine machine_;
  std::mt19937 random_{1};
  std::atomic<bool> is_over_ = false;
  std::vector<uint64_t> written_;  // by domid
};

TEST_F(ConsoleCrashTest, EveryByteOfAThousandGuestsIsThereOnceHoweverOftenTheDaemonIsKilled) {
  create_domains(1000);
  machine_.start_daemon();
  ASSERT_EQ(machine_.attach_all(), domains());
  std::thread guests([this] { run_guests(); });
  for (unsigned kills = 0; kills < kKills && !HasFailure(); ++kills) {
    const uint64_t end = now_ns() + microseconds_ns(100, 120'000);
    while (now_ns() < end) std::this_thread::sleep_for(std::chrono::microseconds(100));
    kill_it();
    machine_.start_daemon();
    // The next one may not even hear of all of them.
    while (random_() % 3 == 0) {
      machine_.attach_all(now_ns() + microseconds_ns(100, 60'000));
      kill_it();
      machine_.start_daemon();
    }
    EXPECT_EQ(machine_.attach_all(), domains());
  }
  is_over_ = true;
  guests.join();
  expect_logs();
  // And with unread text in the rings.
  is_over_ = false;
  guests = std::thread([this] { run_guests(); });
  poll(nullptr, 0, 20);
  kill_it();
  poll(nullptr, 0, 20);
  is_over_ = true;
  guests.join();
  expect_streams();
  machine_.start_daemon();
  EXPECT_EQ(machine_.attach_all(), domains());
  expect_logs();
  uint64_t written = 0;
  for (const uint64_t bytes : written_) written += bytes;
  fmt::print("{} bytes of {} guests\n", written, domains());
  EXPECT_GT(written, 100u * domains());
}

TEST_F(ConsoleCrashTest, TenThousandQuietConsolesNeedNoDescriptorsNoTurnsAndLittleMemory) {
  create_domains(10'000);
  machine_.start_daemon();
  const pid_t daemon = machine_.daemon();
  ASSERT_EQ(machine_.attach_all(), domains());
  const auto descriptors = [&] {
    const std::filesystem::directory_iterator all(fmt::format("/proc/{}/fd", daemon));
    return static_cast<unsigned>(std::distance(all, {}));
  };
  EXPECT_LT(descriptors(), 64u);
  // Beyond rings and the machine's tables, which are shared.
  EXPECT_LT(status_value(daemon, "RssAnon"), domains() * 4u) << "KiB";
  RecordProperty("rss_anon_kib", static_cast<int>(status_value(daemon, "RssAnon")));
  // It sleeps, and nobody wakes it: in a time in which each of them could have had a turn a hundred times.
  const auto woken = [&] { return status_value(daemon, "voluntary_ctxt_switches"); };
  uint64_t before = 0;
  EXPECT_TRUE(wait_for([&] { return std::exchange(before, woken()) == woken(); }));
  for (int i = 0; i < 10; ++i) poll(nullptr, 0, 10);
  EXPECT_LE(woken() - before, 2u);
  // All at once.
  for (DomId domid = 1; domid <= domains(); ++domid) write(domid, 50);
  expect_logs();
  EXPECT_LT(descriptors(), 64u + 64u);
}

}  // namespace
}  // namespace xenopolis
