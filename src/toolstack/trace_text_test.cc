#include "toolstack/trace_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "toolstack/trace_filter.h"
#include "toolstack/trace_summary.h"
#include "xen_abi/xen.h"

namespace xenopolis::toolstack {
namespace {

using machine::TraceKind;
using machine::TraceRecord;
using ::testing::HasSubstr;

TraceRecord call(uint32_t number, std::array<uint64_t, 6> arguments, int64_t result = 0) {
  TraceRecord record{};
  record.kind = TraceKind::kHypercall;
  record.number = number;
  record.arguments = arguments;
  record.result = result;
  record.has_result = 1;
  record.time_ns = 1'000'000'000;
  record.duration_ns = 2000;
  return record;
}
template <class T>
TraceRecord call_with(uint32_t number, std::array<uint64_t, 6> arguments, const T& payload, int64_t result = 0) {
  static_assert(sizeof payload <= TraceRecord::kMaxPayload);
  TraceRecord record = call(number, arguments, result);
  std::memcpy(record.payload.data(), &payload, sizeof payload);
  record.payload_size = sizeof payload;
  return record;
}
TraceRecord other(TraceKind kind, uint32_t number = 0, std::array<uint64_t, 6> arguments = {}) {
  TraceRecord record{};
  record.kind = kind;
  record.number = number;
  record.arguments = arguments;
  return record;
}

TEST(TraceTextTest, HypercallsAreShownWithTheirArgumentsByName) {
  struct {
    TraceRecord record;
    const char* text;
  } const rows[] = {
      {call_with(__HYPERVISOR_event_channel_op, {EVTCHNOP_send, 0x5000}, evtchn_send{.port = 3}),
       "event_channel_op(EVTCHNOP_send, {port=3}) = 0"},
      {call(__HYPERVISOR_event_channel_op, {EVTCHNOP_send, 0x5000}, -EFAULT),
       "event_channel_op(EVTCHNOP_send, 0x5000) = -14 EFAULT"},
      {call_with(__HYPERVISOR_event_channel_op, {EVTCHNOP_alloc_unbound, 0x5000},
                 evtchn_alloc_unbound{.dom = DOMID_SELF, .remote_dom = 0, .port = 9}),
       "event_channel_op(EVTCHNOP_alloc_unbound, {dom=DOMID_SELF, remote_dom=0, port=9}) = 0"},
      {call(__HYPERVISOR_event_channel_op, {99, 0x5000}, -ENOSYS),
       "event_channel_op(operation 99, 0x5000) = -38 ENOSYS"},
      {call(__HYPERVISOR_sched_op, {SCHEDOP_block}), "sched_op(SCHEDOP_block) = 0"},
      {call_with(__HYPERVISOR_sched_op, {SCHEDOP_shutdown, 0x5000}, sched_shutdown{.reason = SHUTDOWN_reboot}),
       "sched_op(SCHEDOP_shutdown, {reason=reboot}) = 0"},
      {call_with(__HYPERVISOR_console_io, {CONSOLEIO_write, 4, 0x5000}, std::array<char, 4>{'a', '"', '\n', '\x1b'}, 4),
       R"(console_io(CONSOLEIO_write, 4, "a\"\n\x1b") = 4)"},
      {call(__HYPERVISOR_set_timer_op, {1'001'500'000}), "set_timer_op(+1.500 ms) = 0"},
      {call(__HYPERVISOR_set_timer_op, {0}), "set_timer_op(0) = 0"},
      {call(__HYPERVISOR_xen_version, {XENVER_version}, 0x40011), "xen_version(XENVER_version, NULL) = 262161"},
      {call(__HYPERVISOR_hvm_op, {1, 2}, -ENOSYS), "hvm_op(0x1, 0x2, 0x0) = -38 ENOSYS"},
      {call(4711, {1, 2, 3}, -ENOSYS), "hypercall_4711(0x1, 0x2, 0x3) = -38 ENOSYS"},
      {other(TraceKind::kTrap, 14, {6, 0xdead, 0x1000}), "--- page fault at 0xdead, code 0x6, rip 0x1000 ---"},
      {other(TraceKind::kTrap, 31, {0, 0, 0x1000}), "--- exception 31, code 0x0, rip 0x1000 ---"},
      {other(TraceKind::kSyscall, 0, {1, 0x1000}), "--- system call 1 of a process, rip 0x1000 ---"},
      {other(TraceKind::kUpcall), "--- event upcall ---"},
      {other(TraceKind::kEnd, SHUTDOWN_poweroff), "+++ shut down: poweroff +++"},
      {other(TraceKind::kEnd, TraceRecord::kDestroyed), "+++ destroyed +++"},
  };
  for (const auto& row : rows) EXPECT_EQ(trace_text(row.record), row.text);
}

// Records come from guests' registers and memory.
TEST(TraceTextTest, WhateverARecordHoldsIsOnePrintableLine) {
  for (uint32_t number = 0; number < 60; ++number) {
    for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{5}, uint64_t{1} << 31, ~uint64_t{0}}) {
      for (const uint8_t size : {uint8_t{0}, uint8_t{7}, uint8_t{TraceRecord::kMaxPayload}}) {
        TraceRecord record = call(number, {value, value, value, value, value, value}, static_cast<int64_t>(value));
        record.payload.fill(static_cast<uint8_t>(value));
        record.payload_size = size;
        for (unsigned kind = 0; kind <= 9; ++kind) {
          record.kind = static_cast<TraceKind>(kind);
          const std::string text = trace_text(record);
          EXPECT_FALSE(text.empty());
          for (const char byte : text) EXPECT_TRUE(byte >= ' ' && byte <= '~') << text;
        }
      }
    }
  }
}

TEST(TraceFilterTest, NamesChooseOrExclude) {
  const TraceRecord send = call(__HYPERVISOR_event_channel_op, {EVTCHNOP_send});
  const TraceRecord block = call(__HYPERVISOR_sched_op, {SCHEDOP_block});
  const TraceRecord trap = other(TraceKind::kTrap, 14);
  struct {
    const char* filter;
    bool send, block, trap;
  } const rows[] = {{"sched_op", false, true, false},
                    {"sched_op,trap", false, true, true},
                    {"hypercalls", true, true, false},
                    {"!hypercalls", false, false, true},
                    {"!sched_op,event_channel_op", false, false, true}};
  for (const auto& row : rows) {
    const TraceFilter filter = TraceFilter::parse(row.filter).value();
    EXPECT_EQ(filter.wants(send), row.send) << row.filter;
    EXPECT_EQ(filter.wants(block), row.block) << row.filter;
    EXPECT_EQ(filter.wants(trap), row.trap) << row.filter;
  }
  EXPECT_TRUE(TraceFilter().wants(send)) << "without a filter everything";
  for (const char* bad : {"", "sched", "sched_op,", "!", "unknown"}) {
    const auto filter = TraceFilter::parse(bad);
    ASSERT_FALSE(filter) << bad;
    EXPECT_EQ(filter.error().code, EINVAL);
  }
}

TEST(TraceSummaryTest, CallsErrorsAndTimeAreAddedUp) {
  TraceSummary summary;
  summary.add(call(__HYPERVISOR_sched_op, {SCHEDOP_yield}));
  summary.add(call(__HYPERVISOR_sched_op, {SCHEDOP_yield}));
  summary.add(call(__HYPERVISOR_hvm_op, {}, -ENOSYS));
  TraceRecord entry = call(__HYPERVISOR_vm_assist, {});
  entry.kind = TraceKind::kMulticall;
  entry.duration_ns = 1500;
  summary.add(entry);
  summary.add(call(__HYPERVISOR_multicall, {}));
  TraceRecord wait = other(TraceKind::kWait);
  wait.duration_ns = 1'000'000'000;
  summary.add(wait);
  const std::string table = summary.table();
  EXPECT_THAT(table, HasSubstr(" 50.00    0.000004       2.000         2           sched_op\n"));
  EXPECT_THAT(table, HasSubstr(" 25.00    0.000002       2.000         1         1 hvm_op\n"));
  EXPECT_THAT(table, HasSubstr("    0.000002       1.500         1           vm_assist\n"));
  EXPECT_THAT(table, HasSubstr("    0.000000       0.500         1           multicall\n"));
  EXPECT_THAT(table, HasSubstr("100.00    0.000008       1.600         5         1 total, without wait\n"));
}

}  // namespace
}  // namespace xenopolis::toolstack
