#include "cli/doctor_xenstore.h"

#include "base/clock.h"
#include "toolstack/xenstore_client.h"

namespace xenopolis::cli {
namespace {

constexpr int kPatienceMs = 3000;

}  // namespace

Result<StoreView> look_into_xenstore(EventLoop& loop, const std::string& socket_path,
                                     const std::vector<std::string>& paths, DomId highest) {
  const auto client = TRY(toolstack::XenstoreClient::connect(loop, socket_path, kPatienceMs));
  StoreView view;
  Status failure;
  const auto note = [&](const Error& error) {
    if (failure && error.code != ENOENT) failure = tl::make_unexpected(error);
  };
  bool is_over = false;
  size_t listings = 0;
  for (const auto& [path, names] :
       {std::pair("/local/domain", &view.homes), std::pair("/libxl", &view.private_homes),
        std::pair("/vm", &view.machines), std::pair("/local/domain/0/backend/console", &view.consoles)}) {
    ++listings;
    client->directory(path, [&, names = names](const Result<std::vector<std::string>>& children) {
      --listings;
      if (!children) return note(children.error());
      names->insert(children->begin(), children->end());
    });
  }
  for (const std::string& path : paths) {
    client->read(path, [&, path](const Result<std::string>& value) {
      if (!value) return note(value.error());
      view.values.emplace(path, *value);
    });
  }
  for (DomId domid = 1; domid < kDomIdCount && domid <= highest; ++domid) {
    client->is_introduced(domid, [&, domid](const Result<std::string>& answer) {
      if (!answer) return note(answer.error());
      if (answer->starts_with('T')) view.introduced.insert(domid);
    });
  }
  // Answers come in order, but for the lists, which are asked for in pieces.
  client->read("/", [&](const Result<std::string>& answer) {
    if (!answer) note(answer.error());
    is_over = true;
  });
  const MonotonicClock clock;
  uint64_t answers = client->answers(), answered_ns = clock.now_ns();
  while (!is_over || listings != 0) {
    TRY_VOID(loop.run_once(kPatienceMs));
    const uint64_t now = clock.now_ns();
    if (std::exchange(answers, client->answers()) != client->answers()) answered_ns = now;
    if (now - answered_ns >= kPatienceMs * uint64_t{1'000'000})
      return fail(ETIMEDOUT, "polis-xenstored does not answer");
  }
  TRY_VOID(std::move(failure));
  return view;
}

}  // namespace xenopolis::cli
