// Writes to its console what it is told on its console, a line each:
//   w BYTES   so many bytes of the pattern, as fast as they are taken
//   b         a piece of the pattern every 10 ms, until the next line
//   t         "T NS": its system time when it wrote that
// Otherwise it is quiet. `shift=N` on the command line is where its pattern begins.
#include "runtime/atomic.h"
#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/events.h"
#include "runtime/option.h"
#include "runtime/print.h"

namespace xenopolis::guest {
namespace {

constexpr uint32_t kRingBytes = sizeof(xencons_interface::out);
constexpr uint64_t kLongestWaitNs = 20'000'000;
constexpr uint64_t kBusyEveryNs = 10'000'000;
constexpr uint32_t kBusyBytes = 100;

// The same as bench/console/pattern.h has. Long enough that a ring can be filled from any place of its period.
constexpr uint32_t kPeriod = 4093;
char pattern[kPeriod + kRingBytes];
uint32_t shift;

void make_pattern() {
  for (uint32_t i = 0; i < sizeof pattern; ++i) {
    uint32_t place = i % kPeriod;
    pattern[i] = place % 64 == 63 ? '\n' : static_cast<char>('a' + (place + place / 64) % 26);
  }
}

void copy(char* to, const char* from, uint64_t size) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

uint32_t least(uint64_t a, uint64_t b) {
  return static_cast<uint32_t>(a < b ? a : b);
}

uint32_t room() {
  xencons_interface& ring = console::ring();
  uint32_t used = ring.out_prod - load(ring.out_cons);
  return used > kRingBytes ? 0 : kRingBytes - used;
}

// At most what there is room for.
void put(const char* from, uint32_t size) {
  xencons_interface& ring = console::ring();
  uint32_t at = MASK_XENCONS_IDX(ring.out_prod, ring.out);
  uint32_t before_wrap = least(size, kRingBytes - at);
  copy(ring.out + at, from, before_wrap);
  copy(ring.out, from + before_wrap, size - before_wrap);
  store(ring.out_prod, ring.out_prod + size);
}

// Tells the backend, and sleeps until it says something: one entry into the hypervisor.
void tell_and_wait(uint64_t deadline_ns) {
  static evtchn_send_t call;
  static Port ports[1];
  call.port = ports[0] = console::port();
  common_batch.add(__HYPERVISOR_event_channel_op, EVTCHNOP_send, &call);
  events::run_and_poll(common_batch, ports, 1, deadline_ns);
}

void write_pattern(uint64_t bytes) {
  for (uint64_t offset = 0; offset < bytes;) {
    // An event that comes from here on ends the sleep.
    events::clear(console::port());
    uint32_t size = least(room(), bytes - offset);
    put(pattern + (offset + shift) % kPeriod, size);
    offset += size;
    if (offset < bytes) tell_and_wait(clock::now_ns() + kLongestWaitNs);
  }
  events::send(console::port());
}

void put_number(uint64_t number) {
  print("T ", number, "\n");
  console::flush();
}

// The next character of what has come; 0 if there is none.
char take_input() {
  xencons_interface& ring = console::ring();
  uint32_t at = ring.in_cons;
  if (at == load(ring.in_prod)) return 0;
  char c = ring.in[MASK_XENCONS_IDX(at, ring.in)];
  store(ring.in_cons, at + 1);
  return c;
}

[[noreturn]] void serve() {
  char line[32];
  uint32_t length = 0;
  uint64_t next_ns = 0;  // 0: not busy
  for (;;) {
    events::clear(console::port());
    if (next_ns != 0 && clock::now_ns() >= next_ns) {
      if (room() >= kBusyBytes) put(pattern + shift % kPeriod, kBusyBytes);
      events::send(console::port());
      next_ns += kBusyEveryNs;
    }
    bool any = false;
    for (char c = take_input(); c != 0; c = take_input()) {
      any = true;
      if (c != '\n') {
        if (length < sizeof line) line[length++] = c;
        continue;
      }
      next_ns = 0;
      if (length > 0 && line[0] == 't') put_number(clock::now_ns());
      if (length > 0 && line[0] == 'b') next_ns = clock::now_ns() + shift % 10 * (kBusyEveryNs / 10) + 1;
      if (length > 2 && line[0] == 'w') write_pattern(number_in({line + 2, length - 2}));
      length = 0;
    }
    Port ports[] = {console::port()};
    if (any) {
      tell_and_wait(next_ns);
    } else {
      events::poll(ports, 1, next_ns);
    }
  }
}

}  // namespace

extern "C" [[noreturn]] void guest_main(const start_info_t* info) {
  domain::prepare(common_batch, info);
  events::prepare(common_batch, EventAbi::kFifo);
  common_batch.run();
  domain::finish(common_batch);
  events::finish(common_batch);
  shift = static_cast<uint32_t>(option::number("shift", 0));
  make_pattern();
  serve();
}

}  // namespace xenopolis::guest
