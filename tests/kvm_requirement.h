// For tests that need /dev/kvm.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include "toolstack/host.h"

// Skips the test, saying why, where KVM does not work; with REQUIRE_KVM=1 in the environment that is a failure.
#define REQUIRE_KVM_OR_SKIP()                                                    \
  do {                                                                           \
    const auto kvm_choice_ = ::xenopolis::toolstack::choose_backend("kvm");      \
    const char* required_ = getenv("REQUIRE_KVM");                               \
    if (!kvm_choice_ && required_ != nullptr && std::string(required_) == "1") { \
      FAIL() << "REQUIRE_KVM=1, but: " << kvm_choice_.error().message();         \
    }                                                                            \
    if (!kvm_choice_) GTEST_SKIP() << kvm_choice_.error().message();             \
  } while (0)
