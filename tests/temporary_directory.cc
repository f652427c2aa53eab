#include "temporary_directory.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

namespace xenopolis::testing {

TemporaryDirectory::TemporaryDirectory() {
  std::string path = ::testing::TempDir() + "polis-test-XXXXXX";
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  path_ = path;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace xenopolis::testing
