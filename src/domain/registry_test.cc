#include "domain/registry.h"

#include <gtest/gtest.h>

#include "machine/machine.h"

namespace xenopolis::domain {
namespace {

class RegistryTest : public testing::Test {
 protected:
  machine::Machine machine_ = machine::Machine::create(40 * machine::kGiB).value();
};

TEST_F(RegistryTest, ADomidIsClaimedOnceUntilItIsReleased) {
  DomainRecord* record = claim_record(5).value();
  EXPECT_EQ(record->state.load(), State::kBuilding);
  EXPECT_EQ(record->domid, 5);
  EXPECT_EQ(claim_record(5).error().code, EEXIST);
  release_record(5);
  EXPECT_FALSE(exists(5));
  EXPECT_TRUE(claim_record(5));
}

TEST_F(RegistryTest, AReleasedRecordComesBackAsNew) {
  DomainRecord* record = claim_record(5).value();
  record->hypercalls = 9;
  record->shutdown_reason = SHUTDOWN_crash;
  record->name[0] = 'x';
  record->built_ns = 3;
  release_record(5);
  record = claim_record(5).value();
  EXPECT_EQ(record->hypercalls.load(), 0u);
  EXPECT_EQ(record->shutdown_reason, 0u);
  EXPECT_STREQ(record->name, "");
  EXPECT_EQ(record->built_ns.load(), 0u);
  EXPECT_EQ(record->cell, kNoCell);
}

TEST_F(RegistryTest, OnlyOrdinaryDomidsCanBeClaimed) {
  EXPECT_EQ(claim_record(0).error().code, EINVAL);
  EXPECT_EQ(claim_record(DOMID_FIRST_RESERVED).error().code, EINVAL);
  EXPECT_EQ(claim_record(0xffff).error().code, EINVAL);
  EXPECT_TRUE(claim_record(kDomIdCount - 1));
  EXPECT_FALSE(exists(0xffff));
}

}  // namespace
}  // namespace xenopolis::domain
