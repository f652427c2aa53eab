#include "xenstore/live_update.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "base/log.h"

namespace xenopolis::xenstore {
namespace {

// Options that say where the program before has left things: each program has its own.
// "--option value" and "--option=value".
void drop_option(std::vector<std::string>& arguments, const std::string& option) {
  std::erase_if(arguments, [&](const std::string& argument) { return argument.starts_with(option + "="); });
  const auto found = std::find(arguments.begin(), arguments.end(), option);
  if (found == arguments.end()) return;
  arguments.erase(found, arguments.end() - found > 1 ? found + 2 : arguments.end());
}

}  // namespace

Control::Answer LiveUpdate::command(Control::Arguments arguments) {
  if (arguments.empty()) return xs_fail(XsError::kInval);
  if (arguments[0] == "-a" && arguments.size() == 1) {
    if (program_.empty()) return std::string("No live-update session active.");
    program_.clear();
    command_line_.clear();
    return std::string("OK");
  }
  if (arguments[0] == "-f" && arguments.size() == 2) {
    std::string file(arguments[1]);
    struct stat status {};
    if (access(file.c_str(), X_OK) != 0 || stat(file.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
      return fmt::format("{} is no program that can be run.", file);
    }
    program_ = std::move(file);
    return std::string("OK");
  }
  if (program_.empty()) return std::string("Not in live-update session.");
  if (arguments[0] == "-c" && arguments.size() == 2) {
    command_line_ = arguments[1];
    return std::string("OK");
  }
  if (arguments[0] != "-s") return xs_fail(XsError::kInval);
  for (size_t i = 1; i < arguments.size(); ++i) {
    const bool has_value = arguments[i] == "-t" || arguments[i] == "-v";
    if ((!has_value && arguments[i] != "-F") || (has_value && ++i == arguments.size())) return xs_fail(XsError::kInval);
  }
  is_due_ = true;
  return std::string("OK");
}

void LiveUpdate::become_next(int journal, std::string_view saved) {
  is_due_ = false;
  std::vector<std::string> arguments = arguments_;
  if (!command_line_.empty()) {
    arguments.resize(1);
    std::istringstream words(command_line_);
    for (std::string word; words >> word;) arguments.push_back(word);
  }
  const Fd file(memfd_create("xenstore-sockets", 0));
  if (!file || write(file.get(), saved.data(), saved.size()) != static_cast<ssize_t>(saved.size()) ||
      lseek(file.get(), 0, SEEK_SET) != 0) {
    return log::error("live update: {}", std::strerror(errno));
  }
  for (const char* option : {"--journal", "--journal-fd", "--saved-fd"}) drop_option(arguments, option);
  arguments.insert(arguments.end(),
                   {"--journal-fd", fmt::to_string(journal), "--saved-fd", fmt::to_string(file.get())});
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  fcntl(journal, F_SETFD, 0);
  log::info("live update: becoming {}", program_);
  execv(program_.c_str(), argv.data());
  log::error("live update: running {}: {}", program_, std::strerror(errno));
  program_.clear();
}

Result<std::string> read_saved(Fd file) {
  std::string saved;
  char bytes[64 * 1024];
  for (;;) {
    const ssize_t count = read(file.get(), bytes, sizeof bytes);
    if (count < 0) return fail_errno("reading what the program before has left");
    if (count == 0) return saved;
    saved.append(bytes, static_cast<size_t>(count));
  }
}

}  // namespace xenopolis::xenstore
