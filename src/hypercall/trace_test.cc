#include "hypercall/trace.h"

#include <gtest/gtest.h>

#include "hypercall/test_domain.h"
#include "machine/statistics.h"
#include "machine/trace_ring.h"

namespace xenopolis::hypercall {
namespace {

using machine::TraceKind;
using machine::TraceRecord;

class TraceTest : public testing::Test {
 protected:
  TestDomain domain_;
};

TEST_F(TraceTest, ACallIsRecordedWithItsStructureAsItWasAnswered) {
  domain_.call(__HYPERVISOR_sched_op, SCHEDOP_yield);
  auto reader = machine::TraceReader::start(TestDomain::kDomId, 0).value();
  const uint64_t address = domain_.put(evtchn_alloc_unbound{.dom = DOMID_SELF, .remote_dom = 0, .port = 0});
  ASSERT_EQ(domain_.call(__HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, address), 0);
  domain_.call(__HYPERVISOR_event_channel_op, EVTCHNOP_send, kNowhere);
  const std::vector<TraceRecord> records = reader.read(0);
  ASSERT_EQ(records.size(), 2u) << "nothing from before";
  EXPECT_EQ(records[0].kind, TraceKind::kHypercall);
  EXPECT_EQ(records[0].number, static_cast<uint32_t>(__HYPERVISOR_event_channel_op));
  EXPECT_EQ(records[0].arguments[0], static_cast<uint64_t>(EVTCHNOP_alloc_unbound));
  EXPECT_EQ(records[0].arguments[1], address);
  EXPECT_EQ(records[0].result, 0);
  EXPECT_EQ(records[0].has_result, 1);
  evtchn_alloc_unbound answered;
  ASSERT_GE(records[0].payload_size, sizeof answered);
  std::memcpy(&answered, records[0].payload.data(), sizeof answered);
  EXPECT_EQ(answered.port, domain_.get<evtchn_alloc_unbound>(address).port);
  EXPECT_NE(answered.port, 0u);
  EXPECT_EQ(records[1].result, -EFAULT);
  EXPECT_EQ(records[1].payload_size, 0);
}

TEST_F(TraceTest, EntriesOfAMulticallComeBeforeIt) {
  auto reader = machine::TraceReader::start(TestDomain::kDomId, 0).value();
  const uint64_t address =
      domain_.put(multicall_entry_t{.op = __HYPERVISOR_xen_version, .result = 0, .args = {XENVER_version}});
  ASSERT_EQ(domain_.call(__HYPERVISOR_multicall, address, 1), 0);
  const std::vector<TraceRecord> records = reader.read(0);
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].kind, TraceKind::kMulticall);
  EXPECT_EQ(records[0].number, static_cast<uint32_t>(__HYPERVISOR_xen_version));
  EXPECT_EQ(records[0].result, kXenMajor << 16 | kXenMinor);
  EXPECT_EQ(records[1].kind, TraceKind::kHypercall);
  EXPECT_EQ(records[1].number, static_cast<uint32_t>(__HYPERVISOR_multicall));
}

TEST_F(TraceTest, CallsAreCountedByNumber) {
  machine::Statistics& mine = machine::statistics_of(0);
  machine::my_statistics = &mine;
  domain_.call(__HYPERVISOR_sched_op, SCHEDOP_yield);
  domain_.call(__HYPERVISOR_sched_op, SCHEDOP_yield);
  for (const uint64_t wild : kWildValues) domain_.call(wild | 1ull << 20);
  machine::my_statistics = nullptr;
  domain_.call(__HYPERVISOR_sched_op, SCHEDOP_yield);
  EXPECT_EQ(mine.hypercalls[__HYPERVISOR_sched_op].load(), 2u);
  EXPECT_EQ(mine.hypercalls.back().load(), std::size(kWildValues));
  EXPECT_EQ(domain_.context.record.hypercalls.load(), 3 + std::size(kWildValues));
}

}  // namespace
}  // namespace xenopolis::hypercall
