// What the toolstack writes of a domain, in polis-xenstored, read by Debian's libxenstore.
#include "toolstack/domain_entries.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <map>

#include "base/clock.h"
#include "standalone_store.h"

namespace xenopolis::toolstack {
namespace {

using ::testing::ElementsAreArray;
using ::testing::IsEmpty;
using xenopolis::testing::Free;
using xenopolis::testing::StandaloneStore;

constexpr char kUuid[] = "2f3a7c1e-0b64-4d0f-9a51-0123456789ab";

class DomainEntriesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    client_ = XenstoreClient::connect(loop_, store_.socket_path(), 10'000).value();
    tool_ = StandaloneStore::open();
    ASSERT_TRUE(tool_);
    before_ = dump("/");
  }

  // A domain as it is when its cell has built it.
  static void describe(domain::DomainRecord& record, DomId domid, const std::string& name, const char* uuid) {
    record.domid = domid;
    record.ram_pages = 1024;
    record.store_port = 1;
    record.store_gfn = 17;
    record.started_s = 1'700'000'000;
    name.copy(record.name, sizeof record.name - 1);
    std::string("/guests/citizen").copy(record.configuration.image, sizeof record.configuration.image - 1);
    const Uuid bytes = parse_uuid(uuid).value();
    std::copy(bytes.begin(), bytes.end(), record.configuration.uuid);
  }

  // Waits for the answer to the last request, and so to all before it.
  Status settle(const std::function<void(DomainEntries::Done)>& request) {
    std::optional<Status> result;
    request([&](const Status& status) { result = status; });
    for (const uint64_t start = MonotonicClock().now_ns();
         !result && MonotonicClock().now_ns() - start < StandaloneStore::kPatienceNs;) {
      EXPECT_TRUE(loop_.run_once(100));
    }
    return result ? *result : Status(fail(ETIMEDOUT, "no answer"));
  }
  void settle() {
    EXPECT_TRUE(settle([&](const DomainEntries::Done& done) {
      client_->read("/", [done](const Result<std::string>&) { done({}); });
    }));
  }

  // "PATH = VALUE (PERMISSIONS)" of everything below `path`, in order.
  std::vector<std::string> dump(const std::string& path) {
    std::vector<std::string> lines;
    unsigned count = 0;
    const std::unique_ptr<char*, Free> names(xs_directory(tool_.get(), XBT_NULL, path.c_str(), &count));
    std::vector<std::string> sorted(names.get(), names.get() + count);
    std::sort(sorted.begin(), sorted.end());
    for (const std::string& name : sorted) {
      const std::string child = (path == "/" ? "" : path) + "/" + name;
      lines.push_back(child + " = " + read(child) + " (" + permissions(child) + ")");
      for (std::string& line : dump(child)) lines.push_back(std::move(line));
    }
    return lines;
  }
  std::string read(const std::string& path) {
    unsigned length = 0;
    const std::unique_ptr<void, Free> value(xs_read(tool_.get(), XBT_NULL, path.c_str(), &length));
    return value ? std::string(static_cast<const char*>(value.get()), length) : "absent";
  }
  std::string permissions(const std::string& path) {
    unsigned count = 0;
    const std::unique_ptr<xs_permissions, Free> all(xs_get_permissions(tool_.get(), XBT_NULL, path.c_str(), &count));
    std::string text;
    for (unsigned i = 0; i < count; ++i) {
      constexpr char kLetters[] = {'n', 'r', 'w', 'b'};
      text += fmt::format("{}{}{}", i == 0 ? "" : ",", kLetters[all.get()[i].perms & 3], all.get()[i].id);
    }
    return text;
  }

  StandaloneStore store_;
  EventLoop loop_ = EventLoop::create().value();
  std::unique_ptr<XenstoreClient> client_;
  testing::Handle tool_;
  std::vector<std::string> before_;
};

TEST_F(DomainEntriesTest, OfADomainAreThoseOfLibxl) {
  domain::DomainRecord record{};
  describe(record, 7, "web-1", kUuid);
  std::string("console=hvc0").copy(record.command_line, sizeof record.command_line - 1);
  DomainEntries entries(*client_);
  entries.write(record);
  settle();
  const std::vector<std::string> home = {
      "/local/domain/7/attr =  (n7)",
      "/local/domain/7/console =  (n0,r7)",
      "/local/domain/7/console/backend = /local/domain/0/backend/console/7/0 (n0,r7)",
      "/local/domain/7/console/backend-id = 0 (n7,r0)",
      "/local/domain/7/control =  (n0,r7)",
      "/local/domain/7/control/feature-poweroff =  (n7)",
      "/local/domain/7/control/feature-reboot =  (n7)",
      "/local/domain/7/control/feature-suspend =  (n7)",
      "/local/domain/7/control/platform-feature-multiprocessor-suspend = 1 (n0,r7)",
      "/local/domain/7/control/platform-feature-xs_reset_watches = 1 (n0,r7)",
      "/local/domain/7/control/shutdown =  (n7)",
      "/local/domain/7/control/sysrq =  (n7)",
      "/local/domain/7/cpu =  (n0,r7)",
      "/local/domain/7/cpu/0 =  (n0,r7)",
      "/local/domain/7/cpu/0/availability = online (n0,r7)",
      "/local/domain/7/data =  (n7)",
      "/local/domain/7/device =  (n0,r7)",
      "/local/domain/7/device/suspend =  (n0,r7)",
      "/local/domain/7/device/suspend/event-channel =  (n7)",
      "/local/domain/7/device/vbd =  (n7)",
      "/local/domain/7/device/vif =  (n7)",
      "/local/domain/7/domid = 7 (n0,r7)",
      "/local/domain/7/drivers =  (n7)",
      "/local/domain/7/error =  (n7)",
      "/local/domain/7/feature =  (n7)",
      "/local/domain/7/memory =  (n0,r7)",
      "/local/domain/7/memory/static-max = 4096 (n0,r7)",
      "/local/domain/7/memory/target = 4096 (n0,r7)",
      "/local/domain/7/memory/videoram = 0 (n0,r7)",
      "/local/domain/7/name = web-1 (n0,r7)",
      "/local/domain/7/store =  (n0,r7)",
      "/local/domain/7/store/port = 1 (n0,r7)",
      "/local/domain/7/store/ring-ref = 17 (n0,r7)",
      "/local/domain/7/vm = /vm/2f3a7c1e-0b64-4d0f-9a51-0123456789ab (n0,r7)",
  };
  EXPECT_THAT(dump("/local/domain/7"), ElementsAreArray(home));
  const std::vector<std::string> vm = {
      "/vm/2f3a7c1e-0b64-4d0f-9a51-0123456789ab =  (n0,r7)",
      "/vm/2f3a7c1e-0b64-4d0f-9a51-0123456789ab/image =  (n0,r7)",
      "/vm/2f3a7c1e-0b64-4d0f-9a51-0123456789ab/image/cmdline = console=hvc0 (n0,r7)",
      "/vm/2f3a7c1e-0b64-4d0f-9a51-0123456789ab/image/kernel = /guests/citizen (n0,r7)",
      "/vm/2f3a7c1e-0b64-4d0f-9a51-0123456789ab/image/ostype = linux (n0,r7)",
      "/vm/2f3a7c1e-0b64-4d0f-9a51-0123456789ab/name = web-1 (n0,r7)",
      "/vm/2f3a7c1e-0b64-4d0f-9a51-0123456789ab/start_time = 1700000000.00 (n0,r7)",
      "/vm/2f3a7c1e-0b64-4d0f-9a51-0123456789ab/uuid = 2f3a7c1e-0b64-4d0f-9a51-0123456789ab (n0,r7)",
  };
  EXPECT_THAT(dump("/vm"), ElementsAreArray(vm));
  const std::vector<std::string> libxl = {
      "/libxl/7 =  (n0)",
      "/libxl/7/device =  (n0)",
      "/libxl/7/device/console =  (n0)",
      "/libxl/7/device/console/0 =  (n0)",
      "/libxl/7/device/console/0/backend = /local/domain/0/backend/console/7/0 (n0)",
      "/libxl/7/device/console/0/frontend = /local/domain/7/console (n0)",
      "/libxl/7/device/console/0/frontend-id = 7 (n0)",
      "/libxl/7/device/console/0/online = 1 (n0)",
      "/libxl/7/device/console/0/protocol = vt100 (n0)",
      "/libxl/7/device/console/0/state = 1 (n0)",
      "/libxl/7/dm-version = qemu_xen (n0)",
      "/libxl/7/type = pv (n0)",
  };
  EXPECT_THAT(dump("/libxl"), ElementsAreArray(libxl));
  const std::vector<std::string> backends = {
      "/local/domain/0/backend/console/7/0 =  (n0,r7)",
      "/local/domain/0/backend/console/7/0/frontend = /local/domain/7/console (n0,r7)",
      "/local/domain/0/backend/console/7/0/frontend-id = 7 (n0,r7)",
      "/local/domain/0/backend/console/7/0/online = 1 (n0,r7)",
      "/local/domain/0/backend/console/7/0/protocol = vt100 (n0,r7)",
      "/local/domain/0/backend/console/7/0/state = 1 (n0,r7)",
  };
  EXPECT_THAT(dump("/local/domain/0/backend/console/7"), ElementsAreArray(backends));
}

TEST_F(DomainEntriesTest, TakeThePlaceOfWhateverStoodThere) {
  ASSERT_TRUE(xs_write(tool_.get(), XBT_NULL, "/local/domain/7/device/console/0/tty", "/x", 2));
  ASSERT_TRUE(xs_write(tool_.get(), XBT_NULL, "/libxl/7/x", "y", 1));
  domain::DomainRecord record{};
  describe(record, 7, "a", kUuid);
  DomainEntries(*client_).write(record);
  settle();
  EXPECT_EQ(read("/local/domain/7/device/console"), "absent");
  EXPECT_EQ(read("/libxl/7/x"), "absent");
  EXPECT_EQ(permissions("/local/domain/7"), "n0,r7");
}

TEST_F(DomainEntriesTest, GoWithoutATraceAndLeaveTheOthers) {
  domain::DomainRecord record{}, other{};
  describe(record, 7, "a", kUuid);
  describe(other, 8, "b", "5f3a7c1e-0b64-4d0f-9a51-0123456789ab");
  DomainEntries entries(*client_);
  entries.write(other);
  settle();
  const std::vector<std::string> with_the_other = dump("/");
  entries.write(record);
  ASSERT_TRUE(xs_write(tool_.get(), XBT_NULL, "/local/domain/7/data/of/the/guest", "x", 1));
  EXPECT_TRUE(settle([&](DomainEntries::Done done) { entries.remove(7, uuid_of(record), std::move(done)); }));
  EXPECT_THAT(dump("/"), ElementsAreArray(with_the_other));
}

TEST_F(DomainEntriesTest, ThatNeverWereAreNoErrorToRemove) {
  DomainEntries entries(*client_);
  EXPECT_TRUE(settle([&](DomainEntries::Done done) { entries.remove(7, parse_uuid(kUuid).value(), std::move(done)); }));
  EXPECT_THAT(dump("/"), ElementsAreArray(before_));
}

TEST_F(DomainEntriesTest, FollowARename) {
  domain::DomainRecord record{};
  describe(record, 7, "a", kUuid);
  DomainEntries entries(*client_);
  entries.write(record);
  EXPECT_TRUE(settle([&](DomainEntries::Done done) { entries.rename(7, uuid_of(record), "b", std::move(done)); }));
  EXPECT_EQ(read("/local/domain/7/name"), "b");
  EXPECT_EQ(read(std::string("/vm/") + kUuid + "/name"), "b");
}

TEST_F(DomainEntriesTest, OfDom0AreItsNumberAndItsName) {
  DomainEntries entries(*client_);
  entries.write_dom0();
  settle();
  EXPECT_EQ(read("/local/domain/0/domid"), "0");
  EXPECT_EQ(read("/local/domain/0/name"), "Domain-0");
}

TEST_F(DomainEntriesTest, OfManyDomainsNeedNoWaitingInBetween) {
  constexpr DomId kDomains = 1000;
  DomainEntries entries(*client_);
  for (DomId domid = 1; domid <= kDomains; ++domid) {
    domain::DomainRecord record{};
    describe(record, domid, fmt::format("d-{}", domid), fmt::format("2f3a7c1e-0b64-4d0f-9a51-{:012x}", domid).c_str());
    entries.write(record);
  }
  const uint64_t start = MonotonicClock().now_ns();
  settle();
  const uint64_t elapsed_ns = MonotonicClock().now_ns() - start;
  RecordProperty("us_per_domain", static_cast<int>(elapsed_ns / 1000 / kDomains));
  EXPECT_EQ(read(fmt::format("/local/domain/{}/domid", kDomains)), fmt::to_string(kDomains));
}

}  // namespace
}  // namespace xenopolis::toolstack
