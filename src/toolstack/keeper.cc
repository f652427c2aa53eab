#include "toolstack/keeper.h"

#include <fmt/format.h>

#include <charconv>

#include "toolstack/keeper_protocol.h"

namespace xenopolis::toolstack {

struct Keeper::Answer {
  std::vector<std::string> fields;
  std::vector<Fd> fds;
};

Result<Keeper::Answer> Keeper::receive() {
  Message message = TRY(receive_message(socket_.get()));
  if (message.text.empty()) return fail(EPIPE, "polis-keeper has gone");
  Answer answer{fields_of(message.text), std::move(message.fds)};
  if (answer.fields.size() == 3 && answer.fields[0] == "error") {
    return fail(number_in(answer.fields[1]).value_or(EPROTO), answer.fields[2]);
  }
  return answer;
}

Result<Keeper::Answer> Keeper::ask(const std::vector<std::string>& request, const std::vector<int>& fds) {
  TRY_VOID(send_message(socket_.get(), message_of(request), fds));
  return receive();
}

Result<Process> Keeper::spawn(const std::string& key, const std::string& program,
                              const std::vector<std::string>& arguments, const std::vector<int>& fds,
                              const std::vector<int>& kept) {
  std::vector<std::string> request{"spawn", key, fmt::to_string(kept.size()), program};
  request.insert(request.end(), arguments.begin(), arguments.end());
  std::vector<int> all = kept;
  all.insert(all.end(), fds.begin(), fds.end());
  TRY_VOID(send_message(socket_.get(), message_of(request), all));
  Result<Answer> received = receive();
  if (!received) {
    // It may be there, and only its descriptor not.
    if (received.error().code == EMFILE) (void)ask({"drop", key}, {});
    return tl::make_unexpected(received.error());
  }
  Answer& answer = *received;
  const auto pid = answer.fields.size() == 2 ? number_in(answer.fields[1]) : std::nullopt;
  if (!pid || answer.fds.size() != 1) return fail(EPROTO, "polis-keeper's answer to \"spawn\"");
  return Process(*pid, std::move(answer.fds[0]), this);
}

Status Keeper::keep(const std::string& key, const std::vector<int>& fds) {
  TRY_VOID(ask({"keep", key}, fds));
  return {};
}

Status Keeper::forget(const std::string& key) {
  TRY_VOID(ask({"forget", key}, {}));
  return {};
}

Result<std::map<std::string, Keeper::Kept>> Keeper::all() {
  std::map<std::string, Kept> result;
  for (Answer answer = TRY(ask({"all"}, {})); answer.fields[0] == "entry"; answer = TRY(receive())) {
    const auto pid = answer.fields.size() == 3 ? number_in(answer.fields[2]) : std::nullopt;
    if (!pid || (*pid != 0 && answer.fds.empty())) return fail(EPROTO, "polis-keeper's answer to \"all\"");
    Kept& kept = result[answer.fields[1]];
    kept.fds = std::move(answer.fds);
    if (*pid == 0) continue;
    kept.process = std::make_unique<Process>(*pid, std::move(kept.fds[0]), this);
    kept.fds.erase(kept.fds.begin());
  }
  return result;
}

std::string Keeper::reap(pid_t pid) {
  const Result<Answer> answer = ask({"reap", fmt::to_string(pid)}, {});
  return answer && answer->fields.size() == 2 ? answer->fields[1] : "gone";
}

}  // namespace xenopolis::toolstack
