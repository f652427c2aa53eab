#include "toolstack/unix_socket.h"

#include <sys/socket.h>

#include <cstring>

namespace xenopolis::toolstack {

Result<SocketPair> seqpacket_pair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) return fail_errno("socketpair");
  return SocketPair{Fd(ends[0]), Fd(ends[1])};
}

Status send_with_fds(int socket, const std::string& message, const std::vector<int>& fds) {
  iovec data{const_cast<char*>(message.data()), message.size()};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
  if (sendmsg(socket, &header, MSG_NOSIGNAL) != static_cast<ssize_t>(message.size())) return fail_errno("sendmsg");
  return {};
}

}  // namespace xenopolis::toolstack
