// A domain that one can talk to: it says back each line that it reads, on its console and, if there is a second one
// (device/console/1), on that too, as a frontend of <xen/io/console.h> and xenbus.
//
// A line "quit" ends it, "close" closes the second console, "open" opens it anew; "count N" writes N numbered lines.
#include <initializer_list>

#include "runtime/atomic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/events.h"
#include "runtime/grants.h"
#include "runtime/option.h"
#include "runtime/print.h"
#include "runtime/shutdown.h"
#include "runtime/xenstore.h"

extern "C" {
#include <xen/io/xenbus.h>
}

namespace xenopolis::guest {
namespace {

constexpr size_t kLineBytes = 200;
// A backend that takes what we wrote without an event still gets noticed.
constexpr uint64_t kLongestWaitNs = 20'000'000;

alignas(kPageSize) [[gnu::section(".bss..pages")]] char second_page[kPageSize];

// One console's ring and channel, and the line that is being typed.
struct Console {
  xencons_interface* ring = nullptr;
  Port port = 0;
  char line[kLineBytes];
  size_t size = 0;

  void write(char c) {
    XENCONS_RING_IDX at = ring->out_prod;
    while (at - load(ring->out_cons) >= sizeof ring->out) {
      tell();
      events::clear(port);
      if (at - load(ring->out_cons) < sizeof ring->out) break;
      Port ports[] = {port};
      events::poll(ports, 1, clock::now_ns() + kLongestWaitNs);
    }
    ring->out[MASK_XENCONS_IDX(at, ring->out)] = c;
    store(ring->out_prod, at + 1);
  }
  void write(Text text) {
    for (size_t i = 0; i < text.size; ++i) write(text.begin[i]);
  }
  bool has_input() const { return ring->in_cons != load(ring->in_prod); }
  char read() {
    char c = ring->in[MASK_XENCONS_IDX(ring->in_cons, ring->in)];
    store(ring->in_cons, ring->in_cons + 1);
    return c;
  }
  void tell() const { events::send(port); }
};

Console first, second;
bool has_second;

Text path(const char* leaf) {
  static char text[40];
  size_t size = 0;
  for (Text part : {Text("device/console/1/"), Text(leaf)}) {
    for (size_t i = 0; i < part.size; ++i) text[size++] = part.begin[i];
  }
  return {text, size};
}

// What the toolstack has offered; false: nothing.
bool open_second() {
  if (xenstore::read(path("backend")).is_error()) return false;
  for (char& byte : second_page) byte = 0;
  second = {};
  second.ring = reinterpret_cast<xencons_interface*>(second_page);
  if (events::alloc_unbound(kDom0, second.port) != 0) return false;
  grants::permit(grants::kFirst, kDom0, second_page);
  xenstore::write(path("ring-ref"), Decimal(grants::kFirst).text());
  xenstore::write(path("port"), Decimal(second.port).text());
  xenstore::write(path("state"), Decimal(XenbusStateInitialised).text());
  has_second = true;
  second.write("second console\r\n");
  second.tell();
  return true;
}

void close_second() {
  if (!has_second) return;
  has_second = false;
  xenstore::write(path("state"), Decimal(XenbusStateClosing).text());
}

// The backend has let go of the page.
void revoke_second() {
  while (!grants::revoke(grants::kFirst)) {
    Port ports[] = {xenstore::port()};
    events::poll(ports, 1, clock::now_ns() + kLongestWaitNs);
  }
  events::close(second.port);
  xenstore::write(path("state"), Decimal(XenbusStateInitialising).text());
}

void answer(Console& console, Text line) {
  if (line == "quit") {
    console.write("bye\r\n");
    console.tell();
    shutdown(SHUTDOWN_poweroff);
  } else if (line == "close") {
    close_second();
    revoke_second();
    console.write("closed\r\n");
  } else if (line == "open") {
    console.write(open_second() ? Text("opened\r\n") : Text("refused\r\n"));
  } else if (line.size > 6 && Text(line.begin, 6) == "count ") {
    uint64_t count = number_in({line.begin + 6, line.size - 6});
    for (uint64_t i = 1; i <= count; ++i) {
      console.write("line ");
      console.write(Decimal(i).text());
      console.write("\r\n");
    }
  } else {
    console.write("you said: ");
    console.write(line);
    console.write("\r\n");
  }
}

// Says back what is typed, as a terminal's line discipline would.
void serve(Console& console) {
  while (console.has_input()) {
    char c = console.read();
    if (c != '\r' && c != '\n') {
      if (console.size < kLineBytes) console.line[console.size++] = c;
      console.write(c);
      continue;
    }
    console.write("\r\n");
    Text line(console.line, console.size);
    console.size = 0;
    answer(console, line);
  }
  // There is room for input, and output to take.
  console.tell();
}

}  // namespace

extern "C" [[noreturn]] void guest_main(const start_info_t* info) {
  domain::prepare(common_batch, info);
  events::prepare(common_batch, option::value("event_abi") == "2l" ? EventAbi::kTwoLevel : EventAbi::kFifo);
  grants::prepare(common_batch);
  common_batch.run();
  domain::finish(common_batch);
  events::finish(common_batch);
  first.ring = &console::ring();
  first.port = console::port();
  bool has_grants = grants::finish(common_batch);
  first.write("ready\r\n");
  first.tell();
  if (has_grants) open_second();
  for (;;) {
    Port ports[] = {first.port, second.port};
    for (Port port : ports) {
      if (port != 0) events::clear(port);
    }
    bool busy = first.has_input() || (has_second && second.has_input());
    if (first.has_input()) serve(first);
    if (has_second && second.has_input()) serve(second);
    if (!busy) events::poll(ports, has_second ? 2 : 1, 0);
  }
}

}  // namespace xenopolis::guest
