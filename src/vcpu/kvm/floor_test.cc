#include "vcpu/kvm/floor.h"

#include "vcpu/kvm/test_domain.h"

namespace xenopolis::vcpu::kvm {
namespace {

TEST(Floor, IsMeasuredWithAnUnevenLastProcess) {
  SKIP_WITHOUT_KVM();
  const auto floor = measure_floor(7, 3, 2, 5);
  ASSERT_TRUE(floor) << floor.error().message();
  EXPECT_GT(*floor, 0.0);
}

TEST(Floor, OfNothingIsRefused) {
  EXPECT_FALSE(measure_floor(0, 1, 1, 1));
  EXPECT_FALSE(measure_floor(1, 0, 1, 1));
  EXPECT_FALSE(measure_floor(1, 1, 0, 1));
}

}  // namespace
}  // namespace xenopolis::vcpu::kvm
