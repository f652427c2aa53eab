#include "tests/verdict.h"

#include "runtime/xenstore.h"

namespace xenopolis::guest {
namespace {

Port timer_event;

[[noreturn]] void end(unsigned reason) {
  print("\n");
  console::flush();
  shutdown(reason);
}

void print_failure(const char* file, int line, const char* claim) {
  print("FAIL ", kTestName, ": ", file, ":", line, ": ", claim);
}

}  // namespace

void pass() {
  print("PASS ", kTestName);
  end(SHUTDOWN_poweroff);
}

void fail(const char* file, int line, const char* claim) {
  print_failure(file, line, claim);
  end(SHUTDOWN_crash);
}

void fail(const char* file, int line, const char* claim, long got, long wanted) {
  print_failure(file, line, claim);
  print(" (", int64_t{got}, ", not ", int64_t{wanted}, ")");
  end(SHUTDOWN_crash);
}

void skip(Text reason) {
  print("SKIP ", kTestName, ": ", reason);
  end(SHUTDOWN_poweroff);
}

void need_page_tables() {
  if (domain::auto_translated()) skip("needs page tables");
}

void need_event_abi(EventAbi abi) {
  if (events::abi() != abi) skip(abi == EventAbi::kFifo ? Text("needs FIFO events") : Text("needs 2-level events"));
}

void mask_backends() {
  events::mask(console::port());
  events::mask(xenstore::port());
}

Port timer_port() {
  if (timer_event == 0) EXPECT_EQ(events::bind_virq(VIRQ_TIMER, timer_event), 0);
  return timer_event;
}

void sleep_until(uint64_t due_ns) {
  Port ports[] = {timer_port()};
  while (now_ns() < due_ns) {
    events::clear(ports[0]);
    EXPECT_EQ(timer::set(due_ns), 0);
    events::poll(ports, 1);
  }
  events::clear(ports[0]);
}

extern "C" [[noreturn]] void guest_main(const start_info_t* info) {
  domain::prepare(common_batch, info);
  events::prepare(common_batch, option::value("event_abi") == "2l" ? EventAbi::kTwoLevel : EventAbi::kFifo);
  common_batch.run();
  domain::finish(common_batch);
  events::finish(common_batch);
  test();
  pass();
}

}  // namespace xenopolis::guest
