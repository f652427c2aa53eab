// A model of xenconsoled's loop, after tools/console/daemon/io.c of Xen 4.17: what it does with descriptors, lists,
// poll(), buffers and limits at each wakeup. It is a model: /dev/xen/evtchn is an eventfd, hypercalls are left out, and
// so is xenstore, which says nothing while the loop runs. It shows how cost grows, and flatters the real one.
#pragma once

#include <string>

#include "xen_abi/xen.h"

namespace xenopolis::bench {

// One console, as model and guest see it.
struct ModelConsole {
  xencons_interface ring;
  char terminal[32];  // set by the model: path of the pty
};
// Each on a page of its own, as rings are.
struct alignas(4096) ModelPage {
  ModelConsole console;
};

struct ModelWorld {
  ModelPage* pages;       // shared memory
  const int* event_fds;   // of each console: the guest's event to the daemon
  int guests_fd;          // the daemon's event to any guest
  int commands_fd;        // says how many consoles there are to be from now on
  std::string directory;  // of logs: N.log
};

// Runs in a process of its own, and answers each command on commands_fd with what it has got.
[[noreturn]] void run_xenconsoled_model(const ModelWorld& world);

}  // namespace xenopolis::bench
