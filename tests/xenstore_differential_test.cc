// The same requests to our server and to Xen's own xenstored, as Dom0 and as guests: the same answers, errors and
// events.
//
// Xenstored runs unmodified and without Xen, under the library of bench/xenstore/preload. Where both differ on purpose,
// docs/compatibility.md has a row, and the requests here keep away from it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <csignal>
#include <random>

#include "../bench/xenstore/preload/shared_files.h"
#include "base/clock.h"
#include "base/fd.h"
#include "temporary_directory.h"
#include "xenstore/check.h"
#include "xenstore/test_client.h"

namespace xenopolis::xenstore {
namespace {

constexpr char kXenstored[] = "/usr/lib/xen-4.17/bin/xenstored";
constexpr int kPatienceMs = 20'000;
constexpr DomId kGuests[] = {5, 6};

struct Heard {
  std::string reply;
  std::vector<std::string> events;
};

// Somebody's stream of replies and events, as TestClient writes them.
class Stream {
 public:
  void append(std::string_view bytes) { reader_.append(bytes); }
  // Until there is a reply.
  bool next_reply(Heard& heard) {
    Header header;
    std::string_view payload;
    while (reader_.next(header, payload) == MessageReader::Next::kMessage) {
      std::string text = nuls_to_bars(std::string(payload));
      if (header.type == XS_WATCH_EVENT) {
        std::replace(text.begin(), text.end(), '|', ' ');
        text.pop_back();
        heard.events.push_back(std::move(text));
        continue;
      }
      if (header.type == XS_ERROR) text.pop_back();
      heard.reply = std::move(text);
      return true;
    }
    return false;
  }

 private:
  MessageReader reader_;
};

// Xenstored, Dom0's socket, and two guests' rings.
class Xenstored {
 public:
  void start(const std::string& directory) {
    pages_file_ = Fd(open((directory + "/" + bench::kPagesFile).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    constexpr size_t kBytes = size_t{bench::kDomains} * bench::kPageBytes;
    ASSERT_EQ(ftruncate(pages_file_.get(), kBytes), 0);
    pages_ = static_cast<uint8_t*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, pages_file_.get(), 0));
    ASSERT_NE(pages_, MAP_FAILED);
    to_daemon_ = fifo(directory + "/" + bench::kToDaemonFifo);
    to_guests_ = fifo(directory + "/" + bench::kToGuestsFifo);
    const Fd port(open((directory + "/" + bench::kDom0PortFile).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(write(port.get(), "1", 1), 1);
    const Fd ring(open((directory + "/" + bench::kDom0RingFile).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    ASSERT_EQ(ftruncate(ring.get(), bench::kPageBytes), 0);
    pid_ = fork();
    ASSERT_GE(pid_, 0);
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      setenv("XENSTORED_RUNDIR", directory.c_str(), 1);
      setenv(bench::kXenDirectory, directory.c_str(), 1);
      setenv("LD_PRELOAD", PRELOAD_LIBRARY, 1);
      execl(kXenstored, "xenstored", "--no-fork", nullptr);
      _exit(127);
    }
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, (directory + "/socket").c_str());
    for (const uint64_t start = MonotonicClock().now_ns();; poll(nullptr, 0, 5)) {
      socket_ = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      if (connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) break;
      ASSERT_LT(MonotonicClock().now_ns() - start, kPatienceMs * uint64_t{1'000'000});
    }
  }
  ~Xenstored() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    if (pages_ != nullptr) munmap(pages_, size_t{bench::kDomains} * bench::kPageBytes);
  }

  Heard ask(DomId domid, uint32_t type, const std::string& payload, uint32_t transaction) {
    const std::string bytes = message_bytes(type, bars_to_nuls(payload), transaction);
    return domid == kDom0 ? ask_by_socket(bytes) : ask_by_ring(domid, bytes);
  }

 private:
  static Fd fifo(const std::string& path) {
    EXPECT_EQ(mkfifo(path.c_str(), 0600), 0);
    return Fd(open(path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  }

  Heard ask_by_socket(const std::string& bytes) {
    Heard heard;
    EXPECT_EQ(send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    while (!streams_[kDom0].next_reply(heard)) {
      char answer[4096];
      pollfd waiting{socket_.get(), POLLIN, 0};
      const ssize_t count = poll(&waiting, 1, kPatienceMs) == 1 ? recv(socket_.get(), answer, sizeof answer, 0) : -1;
      if (count <= 0) {
        ADD_FAILURE() << "xenstored does not answer";
        break;
      }
      streams_[kDom0].append(std::string_view(answer, static_cast<size_t>(count)));
    }
    return heard;
  }

  Heard ask_by_ring(DomId domid, const std::string& bytes) {
    Heard heard;
    auto& page = *reinterpret_cast<xenstore_domain_interface*>(pages_ + size_t{domid} * bench::kPageBytes);
    EXPECT_LE(bytes.size(), size_t{XENSTORE_RING_SIZE});
    uint32_t at = page.req_prod;
    for (const char byte : bytes) page.req[MASK_XENSTORE_IDX(at++)] = byte;
    std::atomic_ref(page.req_prod).store(at);
    notify(domid);
    for (;;) {
      const uint32_t end = std::atomic_ref(page.rsp_prod).load();
      std::string answer;
      for (at = page.rsp_cons; at != end; ++at) answer.push_back(page.rsp[MASK_XENSTORE_IDX(at)]);
      std::atomic_ref(page.rsp_cons).store(at);
      if (answer.size() == XENSTORE_RING_SIZE) notify(domid);
      streams_[domid].append(answer);
      if (streams_[domid].next_reply(heard)) return heard;
      pollfd waiting{to_guests_.get(), POLLIN, 0};
      uint32_t events[256];
      if (answer.empty() &&
          (poll(&waiting, 1, kPatienceMs) != 1 || read(to_guests_.get(), events, sizeof events) <= 0)) {
        ADD_FAILURE() << "xenstored does not answer domain " << domid;
        return heard;
      }
    }
  }
  void notify(DomId domid) {
    const uint32_t event = domid;
    EXPECT_EQ(write(to_daemon_.get(), &event, sizeof event), static_cast<ssize_t>(sizeof event));
  }

  Fd pages_file_, to_daemon_, to_guests_, socket_;
  uint8_t* pages_ = nullptr;
  pid_t pid_ = -1;
  std::map<DomId, Stream> streams_;
};

class DifferentialTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (access(kXenstored, X_OK) != 0) {
      GTEST_SKIP() << kXenstored << " is missing, which Debian's package xen-utils-4.17 brings";
    }
    ASSERT_NO_FATAL_FAILURE(theirs.start(directory_.path()));
    clients_[kDom0] = std::make_unique<TestClient>(server);
    for (const DomId domid : kGuests) {
      clients_[domid] = std::make_unique<TestClient>(server, Subject{domid, {}});
      const std::string number = std::to_string(domid);
      same(kDom0, XS_INTRODUCE, number + "|1|1|");
      same(kDom0, XS_MKDIR, "/local/domain/" + number + "|");
      same(kDom0, XS_SET_PERMS, "/local/domain/" + number + "|n0|r" + number + "|");
      same(kDom0, XS_MKDIR, "/local/domain/" + number + "/data|");
      same(kDom0, XS_SET_PERMS, "/local/domain/" + number + "/data|n" + number + "|");
    }
  }

  // Asks both and compares. The reply, which is ours where it is a number of a transaction.
  std::string same(DomId domid, uint32_t type, const std::string& payload, uint32_t transaction = 0) {
    const Heard expected = theirs.ask(domid, type, payload, transaction == 0 ? 0 : their_transactions_.at(transaction));
    events_of_theirs_[domid].insert(events_of_theirs_[domid].end(), expected.events.begin(), expected.events.end());
    const std::string reply = clients_[domid]->ask(type, payload, transaction);
    if (type == XS_TRANSACTION_START && std::isdigit(static_cast<unsigned char>(expected.reply[0])) != 0) {
      their_transactions_[static_cast<uint32_t>(std::stoul(reply))] = static_cast<uint32_t>(std::stoul(expected.reply));
      return reply;
    }
    EXPECT_EQ(comparable(type, reply), comparable(type, expected.reply))
        << "domain " << domid << ": " << name_of_type(type) << " " << payload;
    return reply;
  }
  // Every client has heard the same events since the last call, in whatever order.
  void same_events() {
    for (auto& [domid, client] : clients_) {
      same(domid, XS_GET_DOMAIN_PATH, "1|");  // after it all events have come
      std::vector<std::string> ours = client->events();
      std::vector<std::string>& expected = events_of_theirs_[domid];
      std::sort(ours.begin(), ours.end());
      std::sort(expected.begin(), expected.end());
      // An event that is like an unread one may be left out.
      ours.erase(std::unique(ours.begin(), ours.end()), ours.end());
      expected.erase(std::unique(expected.begin(), expected.end()), expected.end());
      EXPECT_EQ(ours, expected) << "domain " << domid;
      expected.clear();
    }
  }

  // Children are in no order that is promised, and a generation is just a number.
  static std::string comparable(uint32_t type, const std::string& reply) {
    if (type != XS_DIRECTORY && type != XS_DIRECTORY_PART) return reply;
    std::vector<std::string> names;
    for (size_t at = 0; at < reply.size();) {
      const size_t bar = std::min(reply.find('|', at), reply.size());
      names.push_back(reply.substr(at, bar - at));
      at = bar + 1;
    }
    if (type == XS_DIRECTORY_PART && names.size() > 1) names.erase(names.begin());
    std::sort(names.begin(), names.end());
    std::string text;
    for (const std::string& name : names) text += name + "|";
    return text;
  }

  testing::TemporaryDirectory directory_;
  Xenstored theirs;
  TestLink link;
  Server server{&link};
  std::map<DomId, std::unique_ptr<TestClient>> clients_;
  std::map<DomId, std::vector<std::string>> events_of_theirs_;
  std::map<uint32_t, uint32_t> their_transactions_;
};

TEST_F(DifferentialTest, MistakesAreAnsweredAlike) {
  const std::string kLong(2049, 'x');
  const std::string kPaths[] = {"/",
                                "/a",
                                "",
                                "a",
                                "/a/",
                                "a/",
                                "//",
                                "/a//b",
                                "a//b",
                                "/a b",
                                "/a.b",
                                "@a",
                                "/@a",
                                "/a\nb",
                                "@releaseDomain",
                                "/tool/xenstored",
                                "/tool/none/deep",
                                "/local/domain/5/data",
                                "data",
                                "data/none",
                                kLong.substr(0, 900),
                                "/local/domain/6"};
  for (const DomId domid : {kDom0, kGuests[0]}) {
    for (const std::string& path : kPaths) {
      for (const uint32_t type : {XS_READ, XS_DIRECTORY, XS_GET_PERMS, XS_RM, XS_MKDIR}) {
        if (type == XS_GET_PERMS && is_special(path)) continue;  // 4.17 refuses them
        same(domid, type, path + "|");
      }
      same(domid, XS_DIRECTORY_PART, path + "|0|");
      same(domid, XS_DIRECTORY_PART, path + "|0");
      same(domid, XS_WRITE, path);
      same(domid, XS_WATCH, path + "|t|");
      same(domid, XS_WATCH, path + "|t|");
      same(domid, XS_WATCH, path + "|");
      std::string buffer;
      if (canonical_watch_path(path, domid, buffer)) {  // else 4.17 says that nobody watches it
        same(domid, XS_UNWATCH, path + "|u|");
        same(domid, XS_UNWATCH, path + "|t|");
      }
      same(domid, XS_SET_PERMS, path + "|");
      same(domid, XS_SET_PERMS, path + "|x1|");
      same(domid, XS_SET_PERMS, path + "|r|");
    }
    for (const std::string payload : {"", "|", "T", "T|", "F|", "X|", "T|F|"}) same(domid, XS_TRANSACTION_END, payload);
    for (const uint32_t type : {uint32_t{XS_WATCH_EVENT}, uint32_t{XS_ERROR}, uint32_t{XS_SET_TARGET + 1}, 999u, ~0u}) {
      same(domid, type, "a|");
    }
  }
  for (const std::string payload : {"", "|", "5|", "7|", "0|", "5"}) {
    for (const uint32_t type : {XS_GET_DOMAIN_PATH, XS_IS_DOMAIN_INTRODUCED, XS_RESUME, XS_SET_TARGET}) {
      if (payload == std::string("|")) continue;  // xenstored takes nothing for 0
      same(kDom0, type, payload);
      same(kGuests[0], type, payload);
    }
    same(kGuests[0], XS_RELEASE, payload);
    same(kGuests[0], XS_INTRODUCE, payload);
    same(kGuests[0], XS_CONTROL, payload);
  }
  for (const std::string payload : {"7|", "0|", "", "5"}) same(kDom0, XS_RELEASE, payload);
  for (const std::string payload : {"7|1|", "7|1|0|", "", "7|"}) same(kDom0, XS_INTRODUCE, payload);
  for (const std::string payload : {"5|6|", "5|7|", "7|5|", "5|", ""}) same(kDom0, XS_SET_TARGET, payload);
  for (const std::string payload :
       {"", "check", "check|", "check|x|", "nothing|", "print|", "print|a|b|", "log|maybe|", "logfile|", "quota|set|",
        "quota|set|nodes|", "quota|set|nodes|0|", "quota|a|b|", "quota-soft|x|", "help|x|", "memreport|a|b|"}) {
    same(kDom0, XS_CONTROL, payload);
  }
  same_events();
}

TEST_F(DifferentialTest, TransactionsAreAnsweredAlike) {
  for (const DomId domid : {kDom0, kGuests[0]}) {
    const std::string home = "/local/domain/5/data";
    const auto begin = [&] { return static_cast<uint32_t>(std::stoul(same(domid, XS_TRANSACTION_START, "|"))); };
    same(kDom0, XS_WATCH, home + "|w|");
    same(domid, XS_WRITE, home + "/a|1");
    const uint32_t one = begin();
    const uint32_t two = begin();
    same(domid, XS_TRANSACTION_START, "|", one);
    same(domid, XS_READ, home + "/a|", one);
    same(domid, XS_WRITE, home + "/a|2", one);
    same(domid, XS_READ, home + "/a|", one);
    same(domid, XS_READ, home + "/a|", two);
    same(domid, XS_WRITE, home + "/b/c|3", one);
    same(domid, XS_DIRECTORY, home + "|", one);
    same(domid, XS_DIRECTORY, home + "|");
    same(domid, XS_RM, home + "/nothing|", one);
    same(domid, XS_RM, home + "/none/nothing|", one);
    same(domid, XS_READ, "/secret|", one);
    same_events();
    same(domid, XS_TRANSACTION_END, "T|", one);
    same(domid, XS_READ, home + "/a|", two);
    same(domid, XS_WRITE, home + "/a|4", two);
    same(domid, XS_TRANSACTION_END, "T|", two);  // EAGAIN
    same(domid, XS_READ, home + "/a|");
    const uint32_t three = begin();
    same(domid, XS_RM, home + "/b|", three);
    same(domid, XS_TRANSACTION_END, "F|", three);
    same(domid, XS_READ, home + "/b/c|");
    const uint32_t four = begin();
    same(domid, XS_RM, home + "/b|", four);
    same(domid, XS_SET_PERMS, home + "/a|n5|r6|", four);
    same(domid, XS_GET_PERMS, home + "/a|", four);
    same(domid, XS_TRANSACTION_END, "T|", four);
    same(domid, XS_GET_PERMS, home + "/a|");
    same(domid, XS_RESET_WATCHES, "|");
    same_events();
  }
}

TEST_F(DifferentialTest, DomainsComeAndGoAlike) {
  for (const char* watched : {"/", "/local/domain/7", "/x/y/z", "@introduceDomain", "@releaseDomain"}) {
    same(kDom0, XS_WATCH, std::string(watched) + "|w|");
    same(kGuests[0], XS_WATCH, std::string(watched) + "|w|");
  }
  same_events();
  for (int time = 0; time < 3; ++time) {
    same(kDom0, XS_INTRODUCE, "7|1|1|");
    same_events();
    same(kDom0, XS_IS_DOMAIN_INTRODUCED, "7|");
    same(kDom0, XS_MKDIR, "/local/domain/7|");
    same(kDom0, XS_SET_PERMS, "/local/domain/7|n7|r5|");
    same(kDom0, XS_WRITE, "/local/domain/7/data/value|1");
    same(kDom0, XS_MKDIR, "/x/y/z|");
    same(kDom0, XS_SET_PERMS, "/x/y|n7|");
    same(kDom0, XS_SET_PERMS, "/x/y/z|n5|");
    same(kDom0, XS_SET_TARGET, "7|6|");
    same(kDom0, XS_RESUME, "7|");
    same_events();
    same(kDom0, XS_RELEASE, "7|");
    same_events();
    same(kDom0, XS_RELEASE, "7|");
    same(kDom0, XS_RESUME, "7|");
    same(kDom0, XS_IS_DOMAIN_INTRODUCED, "7|");
    same(kDom0, XS_DIRECTORY, "/local/domain|");
    same(kDom0, XS_DIRECTORY, "/x|");
    same(kDom0, XS_RM, "/x|");
    same_events();
  }
}

TEST_F(DifferentialTest, RandomRequestsOutsideOfTransactionsAreAnsweredAlike) {
  // --gtest_random_seed gives others.
  std::mt19937 random(20261122u + static_cast<unsigned>(::testing::UnitTest::GetInstance()->random_seed()));
  const auto pick = [&](auto... options) {
    const std::string all[] = {std::string(options)...};
    return all[random() % std::size(all)];
  };
  for (int step = 0; step < 3000 && !HasFailure(); ++step) {
    const DomId domid = std::initializer_list<DomId>{kDom0, 5, 6}.begin()[random() % 3];
    const std::string home = pick("/local/domain/5/data", "/local/domain/6/data", "/shared", "data");
    const std::string path = home + pick("", "/a", "/a", "/a/b", "/a/b/c", "/d");
    switch (random() % 9) {
      case 0:
      case 1:
        same(domid, XS_WRITE, path + "|" + pick("", "1", "value"));
        break;
      case 2:
        same(domid, XS_MKDIR, path + "|");
        break;
      case 3:
        if (random() % 2 == 0) same(domid, XS_RM, path + "|");
        break;
      case 4:
        same(domid, XS_SET_PERMS,
             path + "|" + pick("n5", "n6", "n0", "b5", "r6", "w0") + "|" + pick("r5|", "b6|w5|", "", "w6|"));
        break;
      case 5:
        same(domid, XS_READ, path + "|");
        same(domid, XS_GET_PERMS, path + "|");
        same(domid, XS_DIRECTORY, path + "|");
        break;
      case 6:
        same(domid, XS_WATCH,
             pick(path, path, std::string("/"), std::string("@releaseDomain")) + "|" + pick("t", "u") + "|");
        break;
      case 7:
        same(domid, XS_UNWATCH, path + "|" + pick("t", "u") + "|");
        break;
      case 8:
        if (random() % 20 == 0) same(domid, XS_RESET_WATCHES, "|");
        if (domid == kDom0 && random() % 40 == 0) {
          same(kDom0, XS_SET_TARGET, "5|6|");
          clients_[5]->connection().subject().target = 6;  // as our ring's connection has now
        }
        break;
    }
    same_events();
  }
  EXPECT_THAT(find_faults(server), ::testing::IsEmpty());
}

}  // namespace
}  // namespace xenopolis::xenstore
