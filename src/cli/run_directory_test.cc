#include "cli/run_directory.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

namespace xenopolis::cli {
namespace {

class RunDirectoryTest : public ::testing::Test {
 protected:
  RunDirectoryTest() {
    for (const char* name : {"POLIS_RUN_DIR", "POLIS_HOST"}) unsetenv(name);
    setenv("XDG_RUNTIME_DIR", "/run/user/1", 1);
  }
};

TEST_F(RunDirectoryTest, NearerWordsGoBeforeFartherOnes) {
  EXPECT_EQ(*usual_run_directory(), "/run/user/1/xenopolis/default");
  setenv("POLIS_HOST", "web", 1);
  EXPECT_EQ(*usual_run_directory(), "/run/user/1/xenopolis/web");
  setenv("POLIS_RUN_DIR", "/there", 1);
  EXPECT_EQ(*usual_run_directory(), "/there");
  EXPECT_EQ(*directory_of_host("db"), "/run/user/1/xenopolis/db") << "what is said goes before what is set";
  setenv("XDG_RUNTIME_DIR", "", 1);
  const std::string usual = getuid() == 0 ? "/run" : "/run/user/" + std::to_string(getuid());
  EXPECT_EQ(*directory_of_host("db"), usual + "/xenopolis/db");
}

TEST_F(RunDirectoryTest, NameCannotLeaveTheDirectoryOfHosts) {
  for (const char* name : {"", ".", "..", "../x", "a/b", ".hidden", "a b"})
    EXPECT_FALSE(directory_of_host(name)) << name;
  EXPECT_FALSE(directory_of_host(std::string(64, 'a')));
  setenv("POLIS_HOST", "../x", 1);
  EXPECT_FALSE(usual_run_directory());
}

}  // namespace
}  // namespace xenopolis::cli
