// What every test guest shares: it starts the runtime, runs test(), and ends with one line on the console, `PASS name`,
// `FAIL name: reason` or `SKIP name: reason`. A failure ends in SHUTDOWN_crash, the others in SHUTDOWN_poweroff.
#pragma once

#include <initializer_list>

#include "runtime/clock.h"
#include "runtime/console.h"
#include "runtime/events.h"
#include "runtime/hypercall.h"
#include "runtime/option.h"
#include "runtime/print.h"
#include "runtime/shutdown.h"
#include "runtime/timer.h"

namespace xenopolis::guest {

// Each test guest defines these two.
extern const char* const kTestName;
void test();

[[noreturn]] void pass();
[[noreturn]] void fail(const char* file, int line, const char* claim);
[[noreturn]] void fail(const char* file, int line, const char* claim, long got, long wanted);
[[noreturn]] void skip(Text reason);

// Returns only where guests have page tables of their own.
void need_page_tables();

// Returns only with the FIFO event ABI, or without it.
void need_event_abi(EventAbi abi);

inline uint64_t now_ns() {
  return clock::now_ns();
}

// For tests that count events: those of console and xenstore, which come whenever their backends like, stay behind their
// masks. Both work all the same: they look at their rings.
void mask_backends();

// The port that VIRQ_TIMER is bound to.
Port timer_port();

// Sleeps on the timer's own event until the system time is due, other events left alone.
void sleep_until(uint64_t due_ns);

}  // namespace xenopolis::guest

// The claim is the message: write it so that it reads as one.
#define EXPECT(condition)                                                            \
  do {                                                                               \
    if (!(condition)) ::xenopolis::guest::fail(__FILE_NAME__, __LINE__, #condition); \
  } while (0)

#define EXPECT_EQ(left, right)                                                                         \
  do {                                                                                                 \
    long left_value = static_cast<long>(left), right_value = static_cast<long>(right);                 \
    if (left_value != right_value)                                                                     \
      ::xenopolis::guest::fail(__FILE_NAME__, __LINE__, #left " == " #right, left_value, right_value); \
  } while (0)
