// Xen's C xenstored, unmodified, with the files of preload/shared_files.h in place of Xen.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "base/fd.h"
#include "common/basics.h"
#include "daemon.h"
#include "preload/shared_files.h"
#include "toolstack/process.h"

namespace xenopolis::bench {
namespace {

std::vector<std::string> command_line(const std::string& program, const std::string& directory) {
  return {"XENSTORED_RUNDIR=" + directory, fmt::format("{}={}", kXenDirectory, directory),
          std::string("LD_PRELOAD=") + BENCH_PRELOAD_LIBRARY, program, "--no-fork"};
}

Fd open_or_give_up(const std::string& path, int flags) {
  Fd fd(open(path.c_str(), flags | O_CLOEXEC, 0600));
  if (!fd) give_up("{}: {}", path, std::strerror(errno));
  return fd;
}

Fd make_fifo(const std::string& path) {
  require(mkfifo(path.c_str(), 0600) == 0, "a fifo can be made");
  return open_or_give_up(path, O_RDWR | O_NONBLOCK);
}

class CDaemon final : public Daemon {
 public:
  CDaemon(const Kind& kind, const std::string& directory)
      : pages_file_(open_or_give_up(directory + "/" + kPagesFile, O_RDWR | O_CREAT)),
        to_daemon_(make_fifo(directory + "/" + kToDaemonFifo)),
        to_guests_(make_fifo(directory + "/" + kToGuestsFifo)) {
    constexpr size_t kBytes = size_t{kDomains} * kPageBytes;
    require(ftruncate(pages_file_.get(), kBytes) == 0, "the guests' rings fit into a file");
    pages_ = static_cast<uint8_t*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, pages_file_.get(), 0));
    require(pages_ != MAP_FAILED, "the guests' rings can be mapped");
    const Fd dom0_port = open_or_give_up(directory + "/" + kDom0PortFile, O_WRONLY | O_CREAT);
    require(write(dom0_port.get(), "1", 1) == 1, "domain 0 has a port");
    const Fd dom0_ring = open_or_give_up(directory + "/" + kDom0RingFile, O_WRONLY | O_CREAT);
    require(ftruncate(dom0_ring.get(), kPageBytes) == 0, "domain 0 has a ring");
    std::vector<std::string> arguments{"--pdeathsig", "KILL", "/usr/bin/env"};
    for (const std::string& argument : command_line(kind.program, directory)) arguments.push_back(argument);
    auto process = toolstack::Process::spawn("/usr/bin/setpriv", arguments, {});
    if (!process) give_up("{}", process.error().message());
    process_.emplace(*std::move(process));
    pid_ = process_->pid();
    socket_path_ = directory + "/socket";
    machine_file_ = directory + "/" + kPagesFile;
    wait_until_it_serves();
  }

  void add_guest(DomId domid) override { std::memset(&ring(domid), 0, kPageBytes); }
  // It maps the grant that is reserved for this page, whatever the number.
  Gfn ring_gfn() const override { return 1; }
  Port ring_port(DomId) const override { return 1; }
  xenstore_domain_interface& ring(DomId domid) override {
    return *reinterpret_cast<xenstore_domain_interface*>(pages_ + size_t{domid} * kPageBytes);
  }

  void notify(DomId domid) override {
    const uint32_t event = domid;
    require(write(to_daemon_.get(), &event, sizeof event) == sizeof event, "the daemon takes events");
  }

  // Of any guest: only one is waited for at a time.
  bool wait(DomId) override {
    pollfd fifo{to_guests_.get(), POLLIN, 0};
    std::array<uint32_t, 1024> events;
    return poll(&fifo, 1, kPatienceMs) == 1 && read(to_guests_.get(), events.data(), sizeof events) > 0;
  }

 private:
  Fd pages_file_, to_daemon_, to_guests_;
  uint8_t* pages_ = nullptr;
  std::optional<toolstack::Process> process_;
};

// Of the package that the program came with.
std::string version_of(const std::string& program) {
  const std::string command = fmt::format(
      "package=$(dpkg-query -S '{}' 2>/dev/null | cut -d: -f1) && [ -n \"$package\" ] && "
      "dpkg-query -W -f '${{Package}} ${{Version}}' \"$package\"",
      program);
  std::array<char, 256> text{};
  FILE* output = popen(command.c_str(), "r");
  if (output == nullptr) return "version unknown";
  const bool any = std::fgets(text.data(), text.size(), output) != nullptr;
  return pclose(output) == 0 && any ? text.data() : "version unknown";
}

}  // namespace

std::optional<Kind> c_kind(const std::string& program) {
  if (access(program.c_str(), X_OK) != 0) return std::nullopt;
  std::string description = version_of(program) + ":";
  for (const std::string& argument : command_line(program, "DIR")) description += " " + argument;
  return Kind{.name = "c",
              .description = description,
              .has_guests = true,
              .start = [](const Kind& kind, const std::string& directory) -> std::unique_ptr<Daemon> {
                return std::make_unique<CDaemon>(kind, directory);
              },
              .program = program};
}

}  // namespace xenopolis::bench
