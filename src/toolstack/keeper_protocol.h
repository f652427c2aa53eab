// Messages between polisd and polis-keeper, see keeper.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "toolstack/unix_socket.h"

namespace xenopolis::toolstack {

// Longer ones are refused.
inline constexpr size_t kMaxMessage = 64 * 1024;
// SCM_MAX_FD of Linux is 253.
inline constexpr size_t kMaxMessageFds = 200;

// Waits. An empty text: the other end has gone. EMFILE: the descriptors of a message cannot be had, the message is
// lost.
struct Message {
  std::string text;
  std::vector<Fd> fds;
};
Result<Message> receive_message(int socket);
Status send_message(int socket, const std::string& text, const std::vector<int>& fds);

// Fields that end with NUL each.
std::string message_of(const std::vector<std::string>& fields);
std::vector<std::string> fields_of(std::string_view message);

// All of `text`, in decimal.
std::optional<int> number_in(std::string_view text);

}  // namespace xenopolis::toolstack
