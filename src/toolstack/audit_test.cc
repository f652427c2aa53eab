// An audit of a small host whose books agree, and of the same with one thing broken at a time.
#include "toolstack/audit.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "domain/memory_layout.h"
#include "domain/registry.h"
#include "event/consumer.h"
#include "event/port_table.h"
#include "machine/domain_memory.h"
#include "toolstack/lost_memory.h"

namespace xenopolis::toolstack {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class AuditTest : public ::testing::Test {
 protected:
  static constexpr DomId kWeb = 1, kDatabase = 2;
  static constexpr uint32_t kCell = 0;
  static constexpr uint64_t kRamPages = 16;

  void SetUp() override {
    ASSERT_TRUE(event::create_dom0(events_, event::Abi::kFifo));
    create(kWeb, "web");
    create(kDatabase, "database");
  }

  // All that polisd, a cell and the backends do.
  void create(DomId domid, const std::string& name) {
    domain::DomainRecord& record = *domain::claim_record(domid).value();
    name.copy(record.name, sizeof record.name - 1);
    record.ram_pages = kRamPages;
    const domain::MemoryLayout layout{kRamPages};
    machine::DomainMemory& memory = machine::memory_of(domid);
    memory.extent = machine_.frames().allocate_extent(layout.total_pages()).value();
    memory.ram_pages = kRamPages;
    event::DomainConfig config;
    config.shared_info = memory.page(layout.shared_info());
    ASSERT_TRUE(events_.create_domain(domid, config));
    grants_.create_domain(domid, layout.grant_frame(0), 4);
    record.store_port = events_.alloc_unbound(kDom0, domid, kDom0).value();
    record.console_port = events_.alloc_unbound(kDom0, domid, kDom0).value();
    store_end_[domid] = events_.bind_interdomain(kDom0, domid, record.store_port).value();
    ASSERT_TRUE(events_.bind_interdomain(kDom0, domid, record.console_port));
    record.cell = kCell;
    record.cell_slot = domid;
    record.stage = domain::Stage::kUp;
    record.state = domain::State::kRunning;
    books_.domains.insert(domid);
    books_.cells[kCell][domid] = domid;
    books_.consoles.insert(domid);
  }

  std::vector<std::string> findings() {
    std::vector<std::string> lines;
    for (const Finding& finding : audit(machine_, events_, grants_, books_).findings) {
      lines.push_back(fmt::format("{} {}: {}", finding.area, finding.domid, finding.text));
    }
    return lines;
  }

  machine::Machine machine_ = machine::Machine::create().value();
  event::EventChannels events_{machine_};
  grant::GrantTables grants_{machine_};
  HostBooks books_;
  std::map<DomId, Port> store_end_;  // Dom0's
};

TEST_F(AuditTest, FindsNothingWhenAllAgree) {
  EXPECT_THAT(findings(), IsEmpty());
  const AuditResult result = audit(machine_, events_, grants_, books_);
  EXPECT_EQ(result.domains, 2u);
  EXPECT_EQ(result.ports, 8u);
}

TEST_F(AuditTest, TakesNoMemoryForDomainsThatNeverWere) {
  const uint64_t before = machine_.resident_bytes();
  EXPECT_THAT(findings(), IsEmpty());
  EXPECT_EQ(machine_.resident_bytes(), before);
}

TEST_F(AuditTest, FindsARecordThatPolisdDoesNotKnow) {
  books_.domains.erase(kWeb);
  EXPECT_THAT(findings(), ElementsAre("domains 1: its record says running, and polisd does not have it",
                                      "cells 1: place 1 of cell 0 is taken by it, and there is no such domain",
                                      "consoles 1: there are consoles of a domain that does not exist"));
}

TEST_F(AuditTest, FindsADomainWithoutARecord) {
  books_.domains.insert(9);
  EXPECT_THAT(findings(), ElementsAre("domains 9: polisd has it, and it has no record"));
}

TEST_F(AuditTest, FindsTwoDomainsOfOneName) {
  std::string("web").copy(domain::record_of(kDatabase).name, 9);
  domain::record_of(kDatabase).name[3] = '\0';
  EXPECT_THAT(findings(), ElementsAre("domains 2: domain 1 is called web, too"));
}

TEST_F(AuditTest, FindsPlacesInCellsThatAreNotAsTheRecordSays) {
  domain::record_of(kWeb).cell_slot = 7;
  EXPECT_THAT(findings(), ElementsAre("cells 1: it has place 1 of cell 0, unlike its record says",
                                      "cells 1: its record says place 7 of cell 0, which is not its"));
}

TEST_F(AuditTest, FindsACellThatIsGone) {
  books_.cells.clear();
  domain::record_of(kDatabase).cell = domain::kNoCell;
  EXPECT_THAT(findings(), ElementsAre("cells 1: its record says cell 0, which does not exist",
                                      "cells 2: it runs, and has no cell"));
}

TEST_F(AuditTest, FindsAChannelThatNobodyHasBound) {
  ASSERT_TRUE(events_.close(kDom0, store_end_[kWeb]));
  EXPECT_THAT(findings(), ElementsAre(fmt::format("event channels 1: nobody in Dom0 has bound its xenstore channel, "
                                                  "port {}",
                                                  domain::record_of(kWeb).store_port)));
}

TEST_F(AuditTest, LeavesAGuestItsOwnPorts) {
  ASSERT_TRUE(events_.close(kWeb, domain::record_of(kWeb).console_port));
  EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(AuditTest, FindsAnEndThatNamesAnotherThanItsOther) {
  const Port port = domain::record_of(kWeb).store_port;
  event::PortSlot& slot = *event::find_slot(event::channels_of(kWeb), port);
  slot.store(slot.load().with_remote(kDom0, 4000));
  EXPECT_THAT(findings(),
              ElementsAre(fmt::format("event channels 1: port {} is connected to port 4000 of domain 0, but that one "
                                      "not to it",
                                      port),
                          fmt::format("event channels 0: port {} is connected to port {} of domain 1, but that one "
                                      "not to it",
                                      store_end_[kWeb], port)));
}

TEST_F(AuditTest, FindsAWrongCountOfPorts) {
  event::channels_of(kWeb).open_ports.fetch_add(3);
  EXPECT_THAT(findings(), ElementsAre("event channels 1: 2 ports are open, and 5 are counted"));
}

TEST_F(AuditTest, FindsWhatADomainThatIsGoneHasLeft) {
  // As if polisd had forgotten to take it down.
  domain::release_record(kWeb);
  books_ = {{kDatabase}, {{kCell, {}}}, {kDatabase}};
  books_.cells[kCell][kDatabase] = kDatabase;
  EXPECT_THAT(findings(), ElementsAre("event channels 1: there are event channels of a domain that does not exist",
                                      "grants 1: there is a grant table of a domain that does not exist",
                                      "frames 1: there is memory of a domain that does not exist"));
}

TEST_F(AuditTest, FindsWhatADomainLacks) {
  grants_.destroy_domain(kWeb);
  events_.destroy_domain(kDatabase);
  EXPECT_THAT(findings(), ElementsAre("grants 1: it has no grant table", "event channels 2: it has none"));
}

TEST_F(AuditTest, FindsMemoryThatIsNobodys) {
  ASSERT_TRUE(machine_.frames().allocate_extent(1));
  EXPECT_THAT(findings(), ElementsAre("frames 0: 2 MiB of memory (chunk 2) are nobody's"));
}

TEST_F(AuditTest, FindsMemoryWithTwoOwners) {
  const machine::Extent lost = std::exchange(machine::memory_of(kDatabase).extent, machine::memory_of(kWeb).extent);
  EXPECT_THAT(findings(), ElementsAre("frames 2: 2 MiB of memory (chunk 0) are domain 1's, and domain 2's",
                                      "frames 0: 2 MiB of memory (chunk 1) are nobody's"));
  machine_.frames().free_extent(lost);
  EXPECT_THAT(findings(), ElementsAre("frames 2: 2 MiB of memory (chunk 0) are domain 1's, and domain 2's"));
}

TEST_F(AuditTest, FindsMemoryThatIsFreeAndUsed) {
  machine_.frames().free_extent(machine::memory_of(kWeb).extent);
  EXPECT_THAT(findings(), ElementsAre("frames 0: 2 MiB of memory (chunk 0) are domain 1's, and free"));
}

TEST_F(AuditTest, WhatAKilledPolisdHasLostIsFoundAgainAndNothingElse) {
  // Between domains: killed before it wrote down who has it, or before it gave it back.
  for (const uint64_t pages : {1, 3 * 512, 1}) ASSERT_TRUE(machine_.frames().allocate_extent(pages));
  create(3, "third");
  const machine::Extent freed = machine_.frames().allocate_extent(1).value();
  machine_.frames().free_extent(freed);
  EXPECT_EQ(findings().size(), 6u);
  EXPECT_EQ(reclaim_lost_memory(machine_), 6 * machine::kChunkSize);
  EXPECT_THAT(findings(), IsEmpty());
  EXPECT_EQ(reclaim_lost_memory(machine_), 0u);
  ASSERT_TRUE(machine_.frames().allocate_extent(4 * 512));
  EXPECT_EQ(audit(machine_, events_, grants_, books_).chunks, 10u) << "it is given out again";
}

TEST_F(AuditTest, FindsAConsoleThatWasForgotten) {
  books_.consoles.erase(kWeb);
  EXPECT_THAT(findings(), ElementsAre("consoles 1: polis-consoled was not told of its console"));
}

TEST_F(AuditTest, LeavesDomainsThatComeAndGoInPeace) {
  domain::record_of(kWeb).stage = domain::Stage::kEnding;
  domain::record_of(kWeb).cell = domain::kNoCell;
  grants_.destroy_domain(kWeb);
  events_.destroy_domain(kWeb);
  domain::record_of(kDatabase).stage = domain::Stage::kCreating;
  books_.consoles.clear();
  EXPECT_THAT(findings(), IsEmpty());
}

}  // namespace
}  // namespace xenopolis::toolstack
