#include "domain/reservation.h"

#include <gtest/gtest.h>

namespace xenopolis::domain {
namespace {

constexpr uint64_t kRam = 100;

TEST(ReservationTest, AFrameCanBeGivenBackOnceAndHadAgainOnce) {
  Reservation reservation;
  EXPECT_FALSE(reservation.take_again(7, 1, kRam));
  EXPECT_TRUE(reservation.give_back(7, 1, kRam));
  EXPECT_FALSE(reservation.give_back(7, 1, kRam));
  EXPECT_EQ(reservation.given_back(), 1u);
  EXPECT_TRUE(reservation.take_again(7, 1, kRam));
  EXPECT_FALSE(reservation.take_again(7, 1, kRam));
  EXPECT_EQ(reservation.given_back(), 0u);
}

TEST(ReservationTest, ARunIsGivenBackWholeOrNotAtAll) {
  Reservation reservation;
  ASSERT_TRUE(reservation.give_back(10, 1, kRam));
  EXPECT_FALSE(reservation.give_back(8, 4, kRam));
  EXPECT_TRUE(reservation.give_back(8, 2, kRam));
  EXPECT_FALSE(reservation.take_again(8, 4, kRam));
  EXPECT_TRUE(reservation.take_again(8, 3, kRam));
}

TEST(ReservationTest, OnlyRamCounts) {
  Reservation reservation;
  EXPECT_FALSE(reservation.give_back(kRam, 1, kRam));
  EXPECT_FALSE(reservation.give_back(kRam - 1, 2, kRam));
  EXPECT_FALSE(reservation.give_back(~0ull, 2, kRam));
  EXPECT_FALSE(reservation.give_back(1, ~0ull, kRam));
  EXPECT_TRUE(reservation.give_back(0, kRam, kRam));
  EXPECT_FALSE(reservation.take_again(~0ull, 1, kRam));
}

}  // namespace
}  // namespace xenopolis::domain
