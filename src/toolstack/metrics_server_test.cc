#include "toolstack/metrics_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <thread>

#include "base/unix_socket.h"

namespace xenopolis::toolstack {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Result<std::string> some_text() {
  return std::string("polis_info 1\n");
}

class MetricsServerTest : public testing::Test {
 protected:
  // All that the server answers to `request`.
  std::string ask(const std::string& request, const std::function<Result<std::string>()>& text = some_text) {
    Fd client = connect_unix(path_, SOCK_STREAM, 0).value();
    EXPECT_EQ(send(client.get(), request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
    server_.serve(text);
    std::string answer;
    char buffer[4096];
    for (ssize_t got; (got = recv(client.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0;) {
      answer.append(buffer, static_cast<size_t>(got));
    }
    return answer;
  }
  const std::string path_ = testing::TempDir() + "metrics.sock";
  MetricsServer server_ = MetricsServer::listen("unix:" + path_).value();
};

TEST_F(MetricsServerTest, MetricsAreServedAsPrometheusWantsThem) {
  const std::string answer = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(answer, HasSubstr("Content-Length: 13\r\n"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\npolis_info 1\n"));
}

TEST_F(MetricsServerTest, OtherRequestsAreRefused) {
  EXPECT_THAT(ask("GET /secrets HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(ask("POST /metrics HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 405 "));
  EXPECT_TRUE(ask("HEAD /metrics HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
  EXPECT_EQ(ask(std::string(9000, 'x')), "") << "a head without end";
}

TEST_F(MetricsServerTest, StrangersGetNothingFromAUnixSocketWhateverItsMode) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to become a second user";
  ASSERT_EQ(chmod(path_.c_str(), 0666), 0);
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t stranger = fork();
  if (stranger == 0) {
    const Fd way(open(testing::TempDir().c_str(), O_PATH | O_CLOEXEC));  // where a stranger may not come by a path
    if (fchdir(way.get()) != 0 || setgid(65532) != 0 || setuid(65533) != 0) _exit(2);
    const auto socket = connect_unix("metrics.sock", SOCK_STREAM, 0);
    const std::string request = "GET /metrics HTTP/1.1\r\n\r\n";
    if (!socket || send(socket->get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) _exit(3);
    (void)!write(ready[1], "", 1);
    pollfd readable{socket->get(), POLLIN, 0};
    poll(&readable, 1, -1);
    char byte;
    _exit(recv(socket->get(), &byte, 1, 0) > 0 ? 1 : 0);
  }
  close(ready[1]);
  char byte;
  (void)!read(ready[0], &byte, 1);
  server_.serve(some_text);
  close(ready[0]);
  int status = 0;
  waitpid(stranger, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(MetricsServerTest, AHostThatIsGoneIs503) {
  const std::string answer = ask("GET /metrics HTTP/1.1\r\n\r\n", [] { return fail(0, "no host runs there"); });
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("no host runs there"));
}

TEST_F(MetricsServerTest, TheSocketIsForThisUserAloneAndGoesWithTheServer) {
  struct stat status {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  { MetricsServer moved = std::move(server_); }
  EXPECT_NE(stat(path_.c_str(), &status), 0);
}

TEST_F(MetricsServerTest, OnlyThisMachineIsServed) {
  for (const char* address :
       {"0.0.0.0:0", "192.168.1.1:9100", "[::]:0", "example.org:80", "9100", "127.0.0.1:x", "127.0.0.1:70000", ""}) {
    const auto server = MetricsServer::listen(address);
    ASSERT_FALSE(server) << address;
    EXPECT_EQ(server.error().code, EINVAL) << address;
  }
  const auto server = MetricsServer::listen("127.0.0.1:0");
  ASSERT_TRUE(server);
  EXPECT_THAT(server->address(), testing::MatchesRegex("127.0.0.1:[1-9][0-9]*"));
}

}  // namespace
}  // namespace xenopolis::toolstack
