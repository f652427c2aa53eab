#include "domain/reservation.h"

namespace xenopolis::domain {
namespace {

bool is_ram(Gfn first, uint64_t count, uint64_t ram_pages) {
  return count <= ram_pages && first <= ram_pages - count;
}

}  // namespace

bool Reservation::all_are(bool given_back, Gfn first, uint64_t count) const {
  for (Gfn gfn = first; gfn < first + count; ++gfn) {
    if (frames_[gfn] != given_back) return false;
  }
  return true;
}

void Reservation::set(bool given_back, Gfn first, uint64_t count) {
  for (Gfn gfn = first; gfn < first + count; ++gfn) frames_[gfn] = given_back;
}

bool Reservation::give_back(Gfn first, uint64_t count, uint64_t ram_pages) {
  if (!is_ram(first, count, ram_pages)) return false;
  if (frames_.size() < ram_pages) frames_.resize(ram_pages);
  if (!all_are(false, first, count)) return false;
  set(true, first, count);
  given_back_ += count;
  return true;
}

bool Reservation::take_again(Gfn first, uint64_t count, uint64_t ram_pages) {
  if (!is_ram(first, count, ram_pages) || frames_.size() < ram_pages || !all_are(true, first, count)) return false;
  set(false, first, count);
  given_back_ -= count;
  return true;
}

}  // namespace xenopolis::domain
