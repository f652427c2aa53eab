// polis-xenstored and libxenstore, Debian's: threads, watches and everything else that a toolstack uses it for.
#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include "standalone_store.h"
#include "xen_abi/xen.h"

namespace xenopolis {
namespace {

using ::testing::ElementsAre;
using testing::Free;
using testing::Handle;

class XenstoreLibraryTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(client_); }
  void TearDown() override { EXPECT_EQ(control("check"), "OK"); }

  static Handle open() { return testing::StandaloneStore::open(); }
  bool write(const std::string& path, const std::string& value, xs_handle* by = nullptr,
             xs_transaction_t in = XBT_NULL) {
    return xs_write(by != nullptr ? by : client_.get(), in, path.c_str(), value.data(),
                    static_cast<unsigned>(value.size()));
  }
  std::string read(const std::string& path, xs_handle* by = nullptr, xs_transaction_t in = XBT_NULL) {
    unsigned length = 0;
    const std::unique_ptr<void, Free> value(xs_read(by != nullptr ? by : client_.get(), in, path.c_str(), &length));
    return value ? std::string(static_cast<const char*>(value.get()), length) : "";
  }
  std::vector<std::string> list(const std::string& path) {
    unsigned count = 0;
    const std::unique_ptr<char*, Free> names(xs_directory(client_.get(), XBT_NULL, path.c_str(), &count));
    return names ? std::vector<std::string>(names.get(), names.get() + count) : std::vector<std::string>();
  }
  std::string control(std::string command) {
    const std::unique_ptr<char, Free> answer(xs_control_command(client_.get(), command.data(), nullptr, 0));
    return answer ? answer.get() : "";
  }
  // "path token".
  static std::string next_event(xs_handle* by) {
    unsigned count = 0;
    const std::unique_ptr<char*, Free> event(xs_read_watch(by, &count));
    if (!event) return "";
    return std::string(event.get()[XS_WATCH_PATH]) + " " + event.get()[XS_WATCH_TOKEN];
  }

  testing::StandaloneStore store_;
  Handle client_ = open();
};

TEST_F(XenstoreLibraryTest, ThreadsWithOneHandleGetTheirOwnAnswers) {
  // With a watch libxenstore reads in a thread of its own.
  ASSERT_TRUE(xs_watch(client_.get(), "/elsewhere", "t"));
  std::vector<std::thread> threads;
  std::atomic<unsigned> wrong = 0;
  for (unsigned i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (unsigned step = 0; step < 200; ++step) {
        const std::string path = "/threads/" + std::to_string(i) + "/" + std::to_string(step % 10);
        const std::string value = path + ":" + std::to_string(step);
        if (!write(path, value) || read(path) != value) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(list("/threads").size(), 8u);
}

TEST_F(XenstoreLibraryTest, ThreadsThatCountInTransactionsLoseNothing) {
  constexpr unsigned kThreads = 6, kSteps = 40;
  ASSERT_TRUE(write("/counter", "0"));
  std::vector<std::thread> threads;
  std::atomic<unsigned> gave_up = 0;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      const Handle own = open();
      for (unsigned step = 0; step < kSteps; ++step) {
        bool done = false;
        for (unsigned attempt = 0; attempt < 10'000 && !done; ++attempt) {
          const xs_transaction_t transaction = xs_transaction_start(own.get());
          const int value = std::atoi(read("/counter", own.get(), transaction).c_str());
          write("/counter", std::to_string(value + 1), own.get(), transaction);
          done = xs_transaction_end(own.get(), transaction, false);
          if (!done && errno != EAGAIN) break;
        }
        if (!done) ++gave_up;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(gave_up, 0u);
  EXPECT_EQ(read("/counter"), std::to_string(kThreads * kSteps));
}

TEST_F(XenstoreLibraryTest, AWatchingThreadHearsOfEveryWriter) {
  const Handle watcher = open();
  ASSERT_TRUE(xs_watch(watcher.get(), "/watched", "token with spaces"));
  ASSERT_TRUE(xs_watch(watcher.get(), "@releaseDomain", "special"));
  EXPECT_EQ(next_event(watcher.get()), "/watched token with spaces");
  EXPECT_EQ(next_event(watcher.get()), "@releaseDomain special");
  constexpr unsigned kThreads = 4, kNodes = 50;
  std::set<std::string> heard;
  std::thread listener([&] {
    while (heard.size() < kThreads * kNodes) {
      const std::string event = next_event(watcher.get());
      if (event.empty()) return;
      heard.insert(event);
    }
  });
  std::vector<std::thread> writers;
  for (unsigned i = 0; i < kThreads; ++i) {
    writers.emplace_back([&, i] {
      const Handle own = open();
      for (unsigned node = 0; node < kNodes; ++node) {
        write("/watched/" + std::to_string(i) + "-" + std::to_string(node), "x", own.get());
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  listener.join();
  EXPECT_EQ(heard.size(), kThreads * kNodes);
  EXPECT_TRUE(heard.contains("/watched/3-49 token with spaces"));
  EXPECT_TRUE(xs_unwatch(watcher.get(), "/watched", "token with spaces"));
  EXPECT_FALSE(xs_unwatch(watcher.get(), "/watched", "token with spaces"));
  EXPECT_EQ(errno, ENOENT);
  // Nothing more comes.
  ASSERT_TRUE(write("/watched/late", "x"));
  read("/watched/late", watcher.get());
  pollfd waiting{xs_fileno(watcher.get()), POLLIN, 0};
  EXPECT_EQ(poll(&waiting, 1, 0), 0);
}

TEST_F(XenstoreLibraryTest, ManyHandlesWatchOneNode) {
  std::vector<Handle> watchers;
  for (unsigned i = 0; i < 100; ++i) {
    watchers.push_back(open());
    ASSERT_TRUE(xs_watch(watchers.back().get(), "/one", std::to_string(i).c_str()));
    EXPECT_EQ(next_event(watchers.back().get()), "/one " + std::to_string(i));
  }
  ASSERT_TRUE(write("/one", "x"));
  for (unsigned i = 0; i < 100; ++i) EXPECT_EQ(next_event(watchers[i].get()), "/one " + std::to_string(i));
}

TEST_F(XenstoreLibraryTest, ALongDirectoryComesInParts) {
  std::vector<std::string> expected;
  for (unsigned i = 1000; i < 2500; ++i) {
    expected.push_back("name-" + std::to_string(i));
    ASSERT_TRUE(write("/long/" + expected.back(), ""));
  }
  EXPECT_EQ(list("/long"), expected);
}

TEST_F(XenstoreLibraryTest, RightsAreSetAndRead) {
  ASSERT_TRUE(write("/node", "x"));
  xs_permissions rights[] = {{5, XS_PERM_NONE}, {6, XS_PERM_READ}, {7, XS_PERM_READ | XS_PERM_WRITE}};
  ASSERT_TRUE(xs_set_permissions(client_.get(), XBT_NULL, "/node", rights, 3));
  unsigned count = 0;
  const std::unique_ptr<xs_permissions, Free> got(xs_get_permissions(client_.get(), XBT_NULL, "/node", &count));
  ASSERT_EQ(count, 3u);
  for (unsigned i = 0; i < count; ++i) {
    EXPECT_EQ(got.get()[i].id, rights[i].id);
    EXPECT_EQ(got.get()[i].perms, rights[i].perms);
  }
}

TEST_F(XenstoreLibraryTest, ErrorsArriveAsErrno) {
  errno = 0;
  EXPECT_EQ(read("/nothing"), "");
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(write("/in//valid", ""));
  EXPECT_EQ(errno, EINVAL);
  EXPECT_FALSE(xs_rm(client_.get(), XBT_NULL, "/no/parent"));
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(xs_release_domain(client_.get(), 5));
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(xs_resume_domain(client_.get(), 5));
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(xs_set_target(client_.get(), 5, 6));
  EXPECT_EQ(errno, ENOENT);
  EXPECT_FALSE(xs_introduce_domain(client_.get(), 5, 1, 1));
  EXPECT_EQ(errno, ENOSYS);  // without a machine there are no domains
  EXPECT_FALSE(xs_transaction_end(client_.get(), 4711, false));
  EXPECT_EQ(errno, ENOENT);
  ASSERT_TRUE(xs_watch(client_.get(), "/a", "t"));
  EXPECT_FALSE(xs_watch(client_.get(), "/a", "t"));
  EXPECT_EQ(errno, EEXIST);
  EXPECT_EQ(control("nonsense"), "");
  EXPECT_EQ(errno, EINVAL);
}

TEST_F(XenstoreLibraryTest, DomainsAreNamed) {
  const std::unique_ptr<char, Free> path(xs_get_domain_path(client_.get(), 42));
  EXPECT_STREQ(path.get(), "/local/domain/42");
  EXPECT_TRUE(xs_is_domain_introduced(client_.get(), 0));
  EXPECT_TRUE(xs_is_domain_introduced(client_.get(), DOMID_SELF));
  EXPECT_FALSE(xs_is_domain_introduced(client_.get(), 42));
}

TEST_F(XenstoreLibraryTest, WhatATransactionDoesIsSeenWhenItEnds) {
  const Handle watcher = open();
  ASSERT_TRUE(xs_watch(watcher.get(), "/t", "w"));
  EXPECT_EQ(next_event(watcher.get()), "/t w");
  const xs_transaction_t kept = xs_transaction_start(client_.get());
  const xs_transaction_t dropped = xs_transaction_start(client_.get());
  EXPECT_TRUE(write("/t/kept", "x", client_.get(), kept));
  EXPECT_TRUE(write("/t/dropped", "x", client_.get(), dropped));
  EXPECT_EQ(read("/t/kept", client_.get(), kept), "x");
  EXPECT_EQ(read("/t/kept"), "");
  EXPECT_TRUE(xs_transaction_end(client_.get(), dropped, true));
  EXPECT_TRUE(xs_transaction_end(client_.get(), kept, false));
  EXPECT_EQ(next_event(watcher.get()), "/t/kept w");
  EXPECT_THAT(list("/t"), ElementsAre("kept"));
}

}  // namespace
}  // namespace xenopolis
