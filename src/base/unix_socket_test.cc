#include "base/unix_socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>

namespace xenopolis {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kSomebody = 65533;
constexpr gid_t kTheirGroup = 65532, kFurtherGroup = 65531, kOtherGroup = 65530;

mode_t mode_of(const fs::path& path) {
  struct stat status {};
  EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

class UnixSocketTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "unix_socket_XXXXXX";
    directory_ = mkdtemp(pattern.data());
    // The way there is open to everybody: what is refused is refused by the socket.
    fs::permissions(directory_, fs::perms(0755));
  }
  void TearDown() override { fs::remove_all(directory_); }

  fs::path directory_;
};

// The server's user is this process'; each test has its own process, because who is admitted is said once.
enum class Seen { kClient, kNobody, kCannotListen, kCannotConnect };
struct Visitor {
  uid_t user;
  gid_t group;
  std::vector<gid_t> further_groups;
};

// What the server sees of a visitor who connects to a socket whose file lets everybody.
Seen seen_by_server(const fs::path& path, const Visitor& visitor, const char* admitted) {
  const pid_t server = fork();
  if (server == 0) {
    if (admitted != nullptr && !admit_group(admitted)) _exit(static_cast<int>(Seen::kCannotListen));
    const auto listener = listen_unix(path, SOCK_STREAM);
    if (!listener || chmod(path.c_str(), 0666) != 0) _exit(static_cast<int>(Seen::kCannotListen));
    const pid_t client = fork();
    if (client == 0) {
      if (setgroups(visitor.further_groups.size(), visitor.further_groups.data()) != 0 || setgid(visitor.group) != 0 ||
          setuid(visitor.user) != 0) {
        _exit(1);
      }
      const auto socket = connect_unix(path, SOCK_STREAM, 0);
      _exit(socket ? 0 : 1);
    }
    int status = 0;
    waitpid(client, &status, 0);
    if (status != 0) _exit(static_cast<int>(Seen::kCannotConnect));
    _exit(static_cast<int>(accept_client(listener->get()) ? Seen::kClient : Seen::kNobody));
  }
  int status = 0;
  waitpid(server, &status, 0);
  return static_cast<Seen>(WEXITSTATUS(status));
}

TEST_F(UnixSocketTest, SocketIsForItsUserAlone) {
  const auto listener = listen_unix(directory_ / "socket", SOCK_STREAM);
  ASSERT_TRUE(listener.has_value());
  EXPECT_EQ(mode_of(directory_ / "socket"), 0600u);
  const auto client = connect_unix(directory_ / "socket", SOCK_STREAM, 0);
  ASSERT_TRUE(client.has_value());
  EXPECT_TRUE(accept_client(listener->get()));
  EXPECT_FALSE(accept_client(listener->get()));
  EXPECT_EQ(errno, EAGAIN);
}

TEST_F(UnixSocketTest, DirectoryIsMadeForItsUserAloneAndOneThatExistsStaysAsItIs) {
  ASSERT_TRUE(make_socket_directory(directory_ / "host").has_value());
  EXPECT_EQ(mode_of(directory_ / "host"), 0700u);
  fs::permissions(directory_ / "host", fs::perms(0751));
  ASSERT_TRUE(make_socket_directory(directory_ / "host").has_value());
  EXPECT_EQ(mode_of(directory_ / "host"), 0751u);
}

TEST_F(UnixSocketTest, DirectoryThatOthersMayChangeIsRefused) {
  for (const auto& [name, mode, is_fine] :
       {std::tuple("theirs", 0777u, false), std::tuple("sticky", 01777u, true), std::tuple("ours", 0755u, true)}) {
    fs::create_directory(directory_ / name);
    ASSERT_EQ(chmod((directory_ / name).c_str(), mode), 0);
    EXPECT_EQ(make_socket_directory(directory_ / name).has_value(), is_fine) << name;
  }
  if (geteuid() != 0) return;
  ASSERT_EQ(chown((directory_ / "ours").c_str(), kSomebody, kTheirGroup), 0);
  EXPECT_EQ(make_socket_directory(directory_ / "ours").error().code, EPERM);
}

TEST_F(UnixSocketTest, OnlySocketsAreReplaced) {
  std::ofstream(directory_ / "file") << "somebody's";
  EXPECT_EQ(listen_unix(directory_ / "file", SOCK_STREAM).error().code, EADDRINUSE);
  EXPECT_EQ(fs::file_size(directory_ / "file"), 10u);
  (void)listen_unix(directory_ / "socket", SOCK_STREAM).value();  // and nobody listens any more
  EXPECT_TRUE(listen_unix(directory_ / "socket", SOCK_STREAM));
}

TEST_F(UnixSocketTest, StrangersAreDisconnectedWhateverTheModeOfTheFile) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become a second user";
  EXPECT_EQ(seen_by_server(directory_ / "1", {kSomebody, kTheirGroup, {}}, nullptr), Seen::kNobody);
  EXPECT_EQ(seen_by_server(directory_ / "2", {kSomebody, 0, {0}}, nullptr), Seen::kNobody);
  EXPECT_EQ(seen_by_server(directory_ / "3", {0, 0, {}}, nullptr), Seen::kClient);
}

TEST_F(UnixSocketTest, MembersOfTheAdmittedGroupAreClients) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become a second user";
  EXPECT_EQ(seen_by_server(directory_ / "1", {kSomebody, kTheirGroup, {}}, "65532"), Seen::kClient);
  EXPECT_EQ(mode_of(directory_ / "1"), 0666u);
  EXPECT_EQ(seen_by_server(directory_ / "2", {kSomebody, kOtherGroup, {kFurtherGroup, kTheirGroup}}, "65532"),
            Seen::kClient);
  EXPECT_EQ(seen_by_server(directory_ / "3", {kSomebody, kOtherGroup, {kFurtherGroup}}, "65532"), Seen::kNobody);
  EXPECT_EQ(seen_by_server(directory_ / "4", {0, 0, {}}, "65532"), Seen::kClient);
}

TEST_F(UnixSocketTest, AdmittedGroupGetsSocketAndDirectory) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to give files to a group";
  const pid_t child = fork();
  if (child == 0) {
    // What the host's own group could do, the admitted one cannot.
    const bool was_there =
        mkdir((directory_ / "before").c_str(), 0700) == 0 && chmod((directory_ / "before").c_str(), 0770) == 0;
    const bool done = was_there && admit_group("65532").has_value() &&
                      make_socket_directory(directory_ / "before").has_value() &&
                      make_socket_directory(directory_ / "host").has_value() &&
                      listen_unix(directory_ / "host/socket", SOCK_STREAM).has_value();
    _exit(done ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  for (const auto& [name, mode] :
       {std::pair("host", 0750u), std::pair("before", 0750u), std::pair("host/socket", 0660u)}) {
    EXPECT_EQ(mode_of(directory_ / name), mode) << name;
    struct stat file {};
    ASSERT_EQ(stat((directory_ / name).c_str(), &file), 0);
    EXPECT_EQ(file.st_gid, kTheirGroup) << name;
  }
}

TEST_F(UnixSocketTest, GroupThatIsNotThereIsAnError) {
  EXPECT_EQ(admit_group("no-such-group-of-xenopolis").error().code, ENOENT);
}

}  // namespace
}  // namespace xenopolis
