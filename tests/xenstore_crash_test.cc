// polis-xenstored is killed again and again while 3,000 guests use it; nobody must notice more than that their open
// transactions end with EAGAIN.
#include <poll.h>
#include <sys/mman.h>

#include <chrono>
#include <numeric>
#include <thread>

#include "base/clock.h"
#include "xenstore/journal.h"
#include "xenstore_crash_guest.h"
#include "xenstore_machine.h"

namespace xenopolis {
namespace {

constexpr DomId kGuests = 3000;
constexpr DomId kMortals = 24;   // the last ones: released and introduced again meanwhile
constexpr unsigned kKills = 28;  // and half as many again of daemons that recover
constexpr uint64_t kPatienceNs = 30'000'000'000;
const std::string kNul(1, '\0');

uint64_t now_ns() {
  return MonotonicClock().now_ns();
}

// The clients of Dom0, as one: says its requests again after a restart, so all of them may be said twice.
class Dom0Client {
 public:
  using Check = std::function<void(std::string_view reply)>;

  explicit Dom0Client(XenstoreMachine& machine) : machine_(machine) {}

  void ask(uint32_t type, const std::string& payload, Check check = {}) {
    const xsd_sockmsg header{type, next_id_++, 0, static_cast<uint32_t>(payload.size())};
    jobs_.push_back(
        {header, std::string(reinterpret_cast<const char*>(&header), sizeof header) + payload, std::move(check)});
    output_ += jobs_.back().bytes;
  }
  void expect_ok(uint32_t type, const std::string& payload) {
    ask(type, payload, [payload](std::string_view reply) {
      EXPECT_EQ(reply, "OK" + kNul) << fmt::format("{:?}", payload.substr(0, 60));
    });
  }
  bool connect() {
    socket_ = machine_.connect_socket();
    if (!socket_) return false;
    fcntl(socket_.get(), F_SETFL, O_NONBLOCK);
    input_.clear();
    output_.clear();
    for (const Job& job : jobs_) output_ += job.bytes;
    return true;
  }
  void disconnect() { socket_ = Fd(); }
  bool is_idle() const { return jobs_.empty(); }
  // At most until `end`.
  void work(uint64_t end_ns) {
    while (!jobs_.empty()) {
      const uint64_t now = now_ns();
      if (now >= end_ns) return;
      pollfd wanted{socket_.get(), static_cast<short>(output_.empty() ? POLLIN : POLLIN | POLLOUT), 0};
      const uint64_t wait = end_ns - now;
      const timespec time{static_cast<time_t>(wait / 1'000'000'000), static_cast<long>(wait % 1'000'000'000)};
      if (ppoll(&wanted, 1, &time, nullptr) <= 0) continue;
      if (!output_.empty()) {
        const ssize_t sent = send(socket_.get(), output_.data(), output_.size(), MSG_NOSIGNAL);
        if (sent > 0) output_.erase(0, static_cast<size_t>(sent));
      }
      char bytes[65536];
      const ssize_t count = recv(socket_.get(), bytes, sizeof bytes, 0);
      if (count == 0) {
        ADD_FAILURE() << "polis-xenstored hung up";
        return;
      }
      if (count > 0) input_.append(bytes, static_cast<size_t>(count));
      hear();
    }
  }

 private:
  struct Job {
    xsd_sockmsg header;
    std::string bytes;
    Check check;
  };

  void hear() {
    size_t done = 0;
    xsd_sockmsg header;
    while (input_.size() - done >= sizeof header) {
      std::memcpy(&header, input_.data() + done, sizeof header);
      if (input_.size() - done < sizeof header + header.len) break;
      const std::string payload = input_.substr(done + sizeof header, header.len);
      done += sizeof header + header.len;
      if (jobs_.empty()) {
        ADD_FAILURE() << "Dom0 hears an answer to nothing";
        continue;
      }
      const Job job = std::move(jobs_.front());
      jobs_.pop_front();
      EXPECT_EQ(header.req_id, job.header.req_id);
      if (job.check) job.check(payload);
    }
    input_.erase(0, done);
  }

  XenstoreMachine& machine_;
  Fd socket_;
  uint32_t next_id_ = 1;
  std::deque<Job> jobs_;
  std::string input_, output_;
};

class XenstoreCrashTest : public ::testing::Test {
 protected:
  // Who may touch a guest.
  enum class Stage : int { kRuns, kShallStop, kStands };

  XenstoreCrashTest() : machine_(event::Abi::kFifo), scene_{machine_.channels(), {}}, dom0_(machine_) {}

  void SetUp() override {
    if (const char* seed = getenv("XENOPOLIS_SEED")) random_.seed(static_cast<unsigned>(atoi(seed)));
    start();
    dom0_.expect_ok(kXsSetQuota, "node-size" + kNul + "8000" + kNul);
    dom0_.expect_ok(XS_MKDIR, "/shared" + kNul);
    dom0_.expect_ok(XS_SET_PERMS, "/shared" + kNul + "n0" + kNul);
    for (DomId domid = 0; domid < kSharedCounters; ++domid) {
      dom0_.expect_ok(XS_WRITE, shared_counter(domid) + kNul + "0");
      dom0_.expect_ok(XS_SET_PERMS, shared_counter(domid) + kNul + "b0" + kNul);
    }
    dom0_.expect_ok(XS_WRITE, kSharedFlag + kNul + "0");
    dom0_.expect_ok(XS_SET_PERMS, kSharedFlag + kNul + "r0" + kNul);
    for (DomId domid = 1; domid <= kGuests; ++domid) {
      ports_.push_back(machine_.create_domain(domid));
      introduce(domid, {});
    }
    dom0_.work(now_ns() + kPatienceNs);
    ASSERT_TRUE(dom0_.is_idle());
    for (DomId domid = 1; domid <= kGuests; ++domid) {
      const Port port = ports_[domid - 1];
      auto& pending = *reinterpret_cast<uint64_t*>(&machine_.info(domid).evtchn_pending[port / 64]);
      guests_.emplace_back(scene_, domid, port, machine_.ring(domid), pending, !is_mortal(domid));
    }
  }

  static bool is_mortal(DomId domid) { return domid > kGuests - kMortals; }
  static std::string home(DomId domid) { return fmt::format("/local/domain/{}", domid); }

  void introduce(DomId domid, Dom0Client::Check done) {
    dom0_.expect_ok(XS_MKDIR, home(domid) + kNul);
    dom0_.expect_ok(XS_SET_PERMS, home(domid) + kNul + fmt::format("n{}", domid) + kNul);
    dom0_.ask(XS_INTRODUCE,
              fmt::format("{}", domid) + kNul + fmt::format("{}", machine_.kStoreGfn) + kNul +
                  fmt::format("{}", ports_[domid - 1]) + kNul,
              [domid, done](std::string_view reply) {
                EXPECT_EQ(reply, "OK" + kNul) << "INTRODUCE " << domid;
                if (done) done(reply);
              });
  }

  void start() {
    machine_.start_daemon(journal_.get());
    const uint64_t begin = now_ns();
    while (!dom0_.connect()) {
      ASSERT_LT(now_ns() - begin, kPatienceNs) << "polis-xenstored does not come back";
      poll(nullptr, 0, 1);
    }
    restart_ns_ = std::max(restart_ns_, now_ns() - begin);
  }
  void kill_it() {
    ++scene_.kills;
    ASSERT_TRUE(machine_.kill_daemon()) << "polis-xenstored had ended by itself";
    dom0_.disconnect();
    look_at_journal();
  }
  // The dead one's journal is whole, and checkpoints keep it short.
  void look_at_journal() {
    const auto journal = xenstore::Journal::open(Fd(dup(journal_.get())));
    ASSERT_TRUE(journal) << journal.error().message();
    std::string_view records = (*journal)->contents();
    for (xenstore::Record record; xenstore::take_record(records, record);) {
    }
    ASSERT_TRUE(records.empty());
  }
  // With the guests' load on, until a checkpoint has got to its end: what it wrote is the shorter journal.
  void await_checkpoint() {
    const auto journal = xenstore::Journal::open(Fd(dup(journal_.get())));
    ASSERT_TRUE(journal) << journal.error().message();
    const uint64_t begin = now_ns();
    for (uint64_t last = (*journal)->length(), now; (now = (*journal)->length()) >= last; last = now) {
      ASSERT_LT(now_ns() - begin, kPatienceNs) << "no checkpoint";
      dom0_.work(now_ns() + 1'000'000);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    ++checkpoints_;
  }

  // All guests' turns, in a thread of its own.
  void run_guests() {
    std::mt19937 random(random_());
    while (!is_over_) {
      bool has_moved = false;
      for (CrashGuest& guest : guests_) {
        std::atomic<Stage>& stage = stages_[guest.domid()];
        if (stage != Stage::kRuns) {
          if (stage == Stage::kShallStop) stage = Stage::kStands;
          continue;
        }
        has_moved |= guest.step(random);
      }
      is_someone_busy_ = has_moved;
      ++rounds_;
      if (!has_moved) std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
  // The thread has looked at everybody since.
  void wait_for_rounds() {
    for (const uint64_t from = rounds_; rounds_ < from + 2;)
      std::this_thread::sleep_for(std::chrono::microseconds(100));
  }

  // A domain goes and another one of its number comes.
  void replace_a_mortal() {
    const DomId domid = static_cast<DomId>(kGuests - random_() % kMortals);
    Stage expected = Stage::kRuns;
    if (!stages_[domid].compare_exchange_strong(expected, Stage::kShallStop)) return;
    while (stages_[domid] != Stage::kStands) std::this_thread::yield();
    dom0_.ask(XS_RELEASE, fmt::format("{}", domid) + kNul, [this, domid](std::string_view reply) {
      EXPECT_TRUE(reply == "OK" + kNul || reply == "ENOENT" + kNul) << reply;
      dom0_.ask(XS_READ, home(domid) + kNul, [](std::string_view home_reply) {
        EXPECT_EQ(home_reply, "ENOENT" + kNul) << "a removed node is back";
      });
      dom0_.ask(XS_IS_DOMAIN_INTRODUCED, fmt::format("{}", domid) + kNul, [this, domid](std::string_view is_there) {
        EXPECT_EQ(is_there, "F" + kNul);
        machine_.ring(domid) = {};
        introduce(domid, [this, domid](std::string_view) {
          guests_[domid - 1].restart();
          stages_[domid] = Stage::kRuns;
          ++replaced_;
        });
      });
    });
  }

  void change_flag() {
    flag_ = fmt::to_string(++flag_version_);
    dom0_.expect_ok(XS_WRITE, kSharedFlag + kNul + flag_);
  }

  template <class Condition>
  bool wait_for_guests(Condition&& holds) {
    for (const uint64_t begin = now_ns(); now_ns() - begin < kPatienceNs;) {
      wait_for_rounds();
      const auto stand_still = [&] { return std::all_of(guests_.begin(), guests_.end(), holds); };
      if (!is_someone_busy_ && stand_still()) return true;
      if (scene_.complaints.count() > 0) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }

  void verify_store() {
    unsigned faults = 0;
    for (const CrashGuest& guest : guests_) {
      for (const auto& [node, value] : guest.expected()) {
        const std::string path = home(guest.domid()) + "/" + node;
        dom0_.ask(XS_READ, path + kNul,
                  [&faults, path, expected = value.value_or("ENOENT" + kNul)](std::string_view is) {
                    if (is != expected && ++faults < 20)
                      ADD_FAILURE() << path << fmt::format(" is {:?}, not {:?}", is, expected);
                  });
      }
    }
    for (DomId domid = 0; domid < kSharedCounters; ++domid) {
      dom0_.ask(XS_READ, shared_counter(domid) + kNul, [this, domid](std::string_view count) {
        EXPECT_EQ(count, fmt::to_string(scene_.commits[domid].load())) << shared_counter(domid);
      });
    }
    dom0_.ask(XS_READ, kForbidden + kNul,
              [](std::string_view reply) { EXPECT_EQ(reply, "ENOENT" + kNul) << "what was refused is there"; });
    dom0_.ask(XS_CONTROL, "check" + kNul, [](std::string_view reply) { EXPECT_EQ(reply, "OK" + kNul); });
    dom0_.work(now_ns() + kPatienceNs);
    EXPECT_TRUE(dom0_.is_idle());
    EXPECT_EQ(faults, 0u);
  }

  uint64_t microseconds_ns(uint64_t from, uint64_t to) { return 1000 * (from + random_() % (to - from)); }

  const Fd journal_{memfd_create("journal", MFD_CLOEXEC)};
  XenstoreMachine machine_;
  CrashScene scene_;
  Dom0Client dom0_;
  std::mt19937 random_{1};
  std::vector<Port> ports_;
  std::deque<CrashGuest> guests_;
  std::array<std::atomic<Stage>, kGuests + 1> stages_{};
  std::atomic<bool> is_over_ = false, is_someone_busy_ = true;
  std::atomic<uint64_t> rounds_ = 0;
  unsigned flag_version_ = 0, replaced_ = 0, checkpoints_ = 0;
  std::string flag_;
  uint64_t restart_ns_ = 0;
};

TEST_F(XenstoreCrashTest, ThreeThousandGuestsLoseNothingWhenTheDaemonIsKilled) {
  std::thread thread([this] { run_guests(); });
  const auto work = [&] {
    for (unsigned kills = 0; kills < kKills && !HasFatalFailure() && scene_.complaints.count() == 0; ++kills) {
      change_flag();
      replace_a_mortal();
      replace_a_mortal();
      if (kills % 10 == 9) await_checkpoint();
      const uint64_t end = now_ns() + microseconds_ns(100, 30'000);
      dom0_.work(end);
      while (now_ns() < end) std::this_thread::sleep_for(std::chrono::microseconds(50));
      kill_it();
      // The next one may not get beyond its recovery either.
      while (random_() % 3 == 0) {
        machine_.start_daemon(journal_.get());
        std::this_thread::sleep_for(std::chrono::nanoseconds(microseconds_ns(100, 60'000)));
        kill_it();
      }
      start();
    }
  };
  work();
  dom0_.work(now_ns() + kPatienceNs);
  EXPECT_TRUE(dom0_.is_idle());
  scene_.is_draining = true;
  const auto is_quiet = [](const CrashGuest& guest) { return guest.is_quiet(); };
  EXPECT_TRUE(wait_for_guests(is_quiet));
  // Watches are there, and what they have to say survives.
  if (!HasFailure() && scene_.complaints.count() == 0) {
    is_over_ = true;
    thread.join();
    for (CrashGuest& guest : guests_) guest.change_counter();
    is_over_ = false;
    thread = std::thread([this] { run_guests(); });
    change_flag();
    dom0_.work(now_ns() + kPatienceNs);
    kill_it();
    start();
    EXPECT_TRUE(wait_for_guests([&](const CrashGuest& guest) {
      return guest.is_quiet() && (!guest.watches_flag() || guest.last_flag() == flag_);
    }));
  }
  is_over_ = true;
  thread.join();
  for (const std::string& text : scene_.complaints.first()) ADD_FAILURE() << text;
  unsigned told = 0;
  for (const CrashGuest& guest : guests_) {
    if (!guest.is_quiet() && ++told <= 10) ADD_FAILURE() << guest.state();
    if (guest.watches_flag() && guest.last_flag() != flag_ && ++told <= 10) {
      ADD_FAILURE() << "missed the flag's change: " << guest.state();
    }
  }
  if (!HasFailure()) verify_store();
  const uint64_t commits = std::accumulate(scene_.commits.begin(), scene_.commits.end(), uint64_t{0});
  fmt::print(
      "{} kills, {} replies, {} events, {} commits, {} refused, {} transactions lost, {} domains replaced, {} "
      "checkpoints, longest restart {} ms\n",
      scene_.kills.load(), scene_.replies.load(), scene_.events.load(), commits, scene_.refusals.load(),
      scene_.lost_transactions.load(), replaced_, checkpoints_, restart_ns_ / 1'000'000);
  EXPECT_GT(scene_.replies, 3 * kGuests);
  EXPECT_GT(scene_.lost_transactions, 0u);
  EXPECT_GT(commits, 0u);
  EXPECT_GT(checkpoints_, 0u);
}

// Between binding and unmasking, or between masking and closing.
TEST(XenstoreMaskedChannelTest, AChannelThatADeadDaemonLeftMaskedIsHeard) {
  XenstoreMachine machine(event::Abi::kFifo);
  const Port port = machine.create_domain(5);
  {
    auto dead = event::Consumer::attach(machine.channels(), 0).value();
    dead.mask(dead.bind_interdomain(5, port).value());
  }
  const Fd journal(memfd_create("journal", MFD_CLOEXEC));
  machine.start_daemon(journal.get());
  Dom0Client dom0(machine);
  for (const uint64_t begin = now_ns(); !dom0.connect() && now_ns() - begin < kPatienceNs;) poll(nullptr, 0, 1);
  dom0.expect_ok(XS_INTRODUCE, "5" + kNul + fmt::to_string(machine.kStoreGfn) + kNul + fmt::to_string(port) + kNul);
  dom0.work(now_ns() + kPatienceNs);
  xenstore_domain_interface& ring = machine.ring(5);
  poll(nullptr, 0, 20);  // until it has looked by itself
  const std::string payload = "domid" + kNul;
  const xsd_sockmsg header{XS_READ, 1, 0, static_cast<uint32_t>(payload.size())};
  std::memcpy(ring.req, &header, sizeof header);
  std::memcpy(ring.req + sizeof header, payload.data(), payload.size());
  std::atomic_ref(ring.req_prod).store(static_cast<uint32_t>(sizeof header + payload.size()));
  ASSERT_TRUE(machine.channels().send(5, port));
  for (const uint64_t begin = now_ns(); std::atomic_ref(ring.rsp_prod).load() == 0;) {
    ASSERT_LT(now_ns() - begin, 5'000'000'000u) << "not heard";
    poll(nullptr, 0, 1);
  }
}

}  // namespace
}  // namespace xenopolis
