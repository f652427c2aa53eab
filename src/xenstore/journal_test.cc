#include "xenstore/journal.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "xenstore/record.h"

namespace xenopolis::xenstore {
namespace {

Fd memory_file() {
  return Fd(memfd_create("journal", MFD_CLOEXEC));
}
Fd again(const Fd& file) {
  // As another process would have it: with a lock of its own.
  return Fd(open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), O_RDWR | O_CLOEXEC));
}
std::string batch(std::string_view payload) {
  std::string out;
  append_record(out, 11, 7, payload);
  return out;
}
void commit(Journal& journal, std::string_view payload) {
  journal.add(11, 7, payload);
  ASSERT_TRUE(journal.commit());
}

TEST(JournalTest, WhatWasCommittedIsThereForTheNextOwner) {
  const Fd file = memory_file();
  {
    const auto journal = Journal::open(again(file)).value();
    EXPECT_EQ(journal->contents(), "");
    commit(*journal, "one");
    commit(*journal, "two");
    journal->add(11, 7, "not committed");
    journal->ring_word(kDomIdCount - 1).store(5);
  }
  const auto journal = Journal::open(again(file)).value();
  EXPECT_EQ(journal->contents(), batch("one") + batch("two"));
  EXPECT_EQ(journal->ring_word(kDomIdCount - 1).load(), 5u);
  // And it goes on there.
  const std::string large(3 << 20, 'x');
  commit(*journal, large);
  EXPECT_EQ(journal->contents().substr(2 * batch("one").size()), batch(large));
}

TEST(JournalTest, HasOneOwnerAtATimeAndADeadOneIsNone) {
  const Fd file = memory_file();
  const pid_t child = fork();
  if (child == 0) {
    const auto journal = Journal::open(again(file));
    if (!journal) _exit(1);
    (*journal)->add(11, 7, "before death");
    (*journal)->commit();
    (*journal)->add(11, 7, "too late");
    raise(SIGSTOP);
    _exit(2);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  EXPECT_EQ(Journal::open(again(file)).error().code, EWOULDBLOCK);
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(Journal::open(again(file)).value()->contents(), batch("before death"));
}

TEST(JournalTest, SwitchingOverReplacesTheContentsAndGivesTheOldMemoryBack) {
  const Fd file = memory_file();
  const auto journal = Journal::open(again(file)).value();
  const auto resident = [&] {
    struct stat status {};
    fstat(file.get(), &status);
    return status.st_blocks * 512;
  };
  for (int round = 0; round < 5; ++round) {
    journal->clear_other();
    ASSERT_TRUE(journal->append_to_other(batch("kept")));
    commit(*journal, std::string(8 << 20, 'x'));
    ASSERT_GT(resident(), 8 << 20);
    journal->switch_over();
    EXPECT_EQ(journal->contents(), batch("kept"));
    EXPECT_LT(resident(), 4 << 20);
  }
}

TEST(JournalTest, AFullDiskIsSaidBeforeAnythingIsWritten) {
  const Fd file = memory_file();
  const auto journal = Journal::open(again(file)).value();
  EXPECT_FALSE(journal->make_room(17ull << 30));  // more than a region has
  EXPECT_TRUE(journal->make_room(100));
}

TEST(JournalTest, OtherFilesAreRefused) {
  const Fd file = memory_file();
  ASSERT_EQ(ftruncate(file.get(), 4096), 0);
  EXPECT_EQ(Journal::open(again(file)).error().code, EINVAL);
}

TEST(RecordTest, ARecordThatIsCutOffIsNone) {
  const std::string whole = batch("payload");
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    std::string_view records = std::string_view(whole).substr(0, bytes);
    Record record;
    EXPECT_FALSE(take_record(records, record));
  }
  std::string_view records = whole;
  Record record;
  ASSERT_TRUE(take_record(records, record));
  EXPECT_EQ(record.payload, "payload");
  EXPECT_EQ(record.domid, 7);
  EXPECT_TRUE(records.empty());
}

}  // namespace
}  // namespace xenopolis::xenstore
