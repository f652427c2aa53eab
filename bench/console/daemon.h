// A console daemon under test: how it is started, how its guests are reached, what it uses.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <string_view>

#include "common/process_usage.h"
#include "xen_abi/xen.h"

namespace xenopolis::bench {

// Somebody who is attached to one console.
class Reader {
 public:
  virtual ~Reader() = default;
  // Readable when there is text.
  virtual int fd() const = 0;
  // What has come, empty if nothing; valid until the next call.
  virtual std::string_view take() = 0;
};

// Runs from construction to destruction.
class ConsoleDaemon {
 public:
  virtual ~ConsoleDaemon() = default;

  pid_t pid() const { return pid_; }
  // What grows with consoles: neither files, nor guests' memory, nor the program.
  virtual uint64_t own_bytes() const = 0;
  virtual uint64_t descriptors() const { return descriptors_of(pid_); }

  // All consoles that it was started for, each of a guest of its own; they are numbered from 0. Once.
  virtual void attach() = 0;
  virtual xencons_interface& ring(uint32_t console) = 0;
  // The guest's event to the daemon.
  virtual void notify(uint32_t console) = 0;
  // Sleeps until the daemon's event to the guest; may return early. False after kPatienceMs.
  virtual bool wait(uint32_t console) = 0;

  virtual std::unique_ptr<Reader> attach_reader(uint32_t console) = 0;
  virtual std::string log_of(uint32_t console) const = 0;

 protected:
  ConsoleDaemon() = default;
  pid_t pid_ = 0;
};

// What can be measured.
struct ConsoleKind {
  std::string name;  // "ours"
  std::string description;
  uint32_t most_consoles;
  std::string end;  // why there are no more
  // It has no console yet. `directory` exists, is empty, and is the daemon's own.
  std::unique_ptr<ConsoleDaemon> (*start)(const ConsoleKind& kind, uint32_t consoles, const std::string& directory);
  std::string program;
};

// polis-consoled in a machine of its own, as polisd starts it.
ConsoleKind our_console_kind(const std::string& program);
// The model of xenconsoled.
ConsoleKind model_console_kind();

}  // namespace xenopolis::bench
