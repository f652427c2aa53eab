#include "toolstack/keeper_protocol.h"

#include <poll.h>
#include <sys/socket.h>

#include <charconv>
#include <cstring>

namespace xenopolis::toolstack {

Result<Message> receive_message(int socket) {
  std::string buffer(kMaxMessage, '\0');
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxMessageFds * sizeof(int))];
  iovec data{buffer.data(), buffer.size()};
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t size = 0;
  while ((size = recvmsg(socket, &header, MSG_CMSG_CLOEXEC)) < 0) {
    if (errno == ECONNRESET) break;
    pollfd readable{socket, POLLIN, 0};
    if (errno == EAGAIN) poll(&readable, 1, -1);
    if (errno != EAGAIN && errno != EINTR) return fail_errno("receiving a message");
  }
  if (size <= 0) return Message{};
  Message message;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = 0; at + sizeof(int) <= part->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + at, sizeof fd);
      message.fds.emplace_back(fd);
    }
  }
  if ((header.msg_flags & MSG_TRUNC) != 0) return fail(EMSGSIZE, "a message that is too long");
  if ((header.msg_flags & MSG_CTRUNC) != 0) {
    return fail(EMFILE, "the limit on open files is too low for what was sent (ulimit -Hn)");
  }
  buffer.resize(static_cast<size_t>(size));
  message.text = std::move(buffer);
  return message;
}

Status send_message(int socket, const std::string& text, const std::vector<int>& fds) {
  if (text.size() > kMaxMessage || fds.size() > kMaxMessageFds) return fail(EMSGSIZE, "a message that is too long");
  iovec data{const_cast<char*>(text.data()), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxMessageFds * sizeof(int))];
  msghdr header{};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
  }
  while (sendmsg(socket, &header, MSG_NOSIGNAL) < 0) {
    pollfd writable{socket, POLLOUT, 0};
    if (errno == EAGAIN) poll(&writable, 1, -1);
    if (errno != EAGAIN && errno != EINTR) return fail_errno("sending a message");
  }
  return {};
}

std::string message_of(const std::vector<std::string>& fields) {
  std::string message;
  for (const std::string& field : fields) message.append(field.c_str(), field.size() + 1);
  return message;
}

std::vector<std::string> fields_of(std::string_view message) {
  std::vector<std::string> fields;
  for (size_t end; (end = message.find('\0')) != std::string_view::npos; message.remove_prefix(end + 1)) {
    fields.emplace_back(message.substr(0, end));
  }
  if (fields.empty()) fields.emplace_back(message);
  return fields;
}

std::optional<int> number_in(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace xenopolis::toolstack
