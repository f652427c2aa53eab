#include "experiment/label_placement.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>

namespace xenopolis::experiment {
namespace {

constexpr double kDistances[] = {10, 14, 19, 25, 32, 40, 50, 62, 76, 92, 110};
constexpr int kDirections = 32;
// A label this far from its point belongs to it at sight.
constexpr double kNear = 15;
// Places are improved in rounds: a label moves when those placed after it leave it a better one.
constexpr int kRounds = 2;

constexpr double kOutside = 1e6;
constexpr double kOnBox = 2'000;
constexpr double kOnLine = 200;
constexpr double kTouchesArea = 25;
constexpr double kInArea = 60;  // if all of it is
constexpr int kColumns = 12;    // at which it is looked whether it is
constexpr double kLeaderOverBox = 400;
constexpr double kLeaderOverLine = 30;
constexpr double kLeader = 15;
constexpr double kOtherPoint = 5;

double cross_product(Position a, Position b, Position c) {
  return (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
}

bool segments_cross(Position a, Position b, Position c, Position d) {
  return cross_product(a, b, c) * cross_product(a, b, d) < 0 && cross_product(c, d, a) * cross_product(c, d, b) < 0;
}

bool holds(const Box& box, Position at) {
  return at.x > box.left && at.x < box.right && at.y > box.top && at.y < box.bottom;
}

// By the number of edges to the right.
bool is_in_area(const std::vector<Position>& outline, Position at) {
  bool is_in = false;
  for (size_t index = 0, before = outline.size() - 1; index < outline.size(); before = index++) {
    const Position& a = outline[index];
    const Position& b = outline[before];
    if ((a.y > at.y) != (b.y > at.y) && at.x < (b.x - a.x) * (at.y - a.y) / (b.y - a.y) + a.x) is_in = !is_in;
  }
  return is_in;
}

template <typename Visit>
void for_each_segment(const Obstacles& obstacles, Visit visit) {
  for (const auto& line : obstacles.lines) {
    for (size_t index = 1; index < line.size(); ++index) visit(line[index - 1], line[index]);
  }
}

PlacedLabel at_distance(Position at, double text_width, double distance, int direction) {
  const double angle = 2 * std::numbers::pi * direction / kDirections;
  const double x = at.x + distance * std::cos(angle);
  const double y = at.y + distance * std::sin(angle);
  PlacedLabel placed;
  placed.at = at;
  placed.x = x;
  placed.anchor = std::cos(angle) > 0.3 ? "start" : std::cos(angle) < -0.3 ? "end" : "middle";
  const double left = placed.anchor == "start" ? x : placed.anchor == "end" ? x - text_width : x - text_width / 2;
  placed.box = {left, y - kTextHeight / 2, left + text_width, y + kTextHeight / 2};
  placed.leader_end = {std::clamp(at.x, placed.box.left, placed.box.right),
                       std::clamp(at.y, placed.box.top + 2, placed.box.bottom - 2)};
  placed.needs_leader = std::hypot(placed.leader_end.x - at.x, placed.leader_end.y - at.y) > kNear;
  return placed;
}

double cost(const PlacedLabel& placed, const Obstacles& obstacles,
            const std::vector<std::optional<PlacedLabel>>& others, const Box& within) {
  const Box& box = placed.box;
  double sum = 0;
  if (box.left < within.left || box.right > within.right || box.top < within.top || box.bottom > within.bottom)
    sum += kOutside;
  if (placed.needs_leader) sum += kLeader;
  const auto meets = [&](const Box& other) {
    if (overlap(box, other)) sum += kOnBox;
    // Its own mark is where a leader begins.
    if (placed.needs_leader && !holds(other, placed.at) && crosses(other, placed.at, placed.leader_end))
      sum += kLeaderOverBox;
  };
  for (const Box& other : obstacles.boxes) meets(other);
  for (const auto& other : others) {
    if (!other) continue;
    meets(other->box);
    if (other->needs_leader && crosses(box, other->at, other->leader_end)) sum += kLeaderOverBox;
  }
  for_each_segment(obstacles, [&](Position from, Position to) {
    if (crosses(box, from, to)) sum += kOnLine;
    if (placed.needs_leader && segments_cross(placed.at, placed.leader_end, from, to)) sum += kLeaderOverLine;
  });
  for (const auto& area : obstacles.areas) {
    int inside = 0;
    for (int column = 0; column <= kColumns; ++column) {
      const double x = box.left + box.width() * column / kColumns;
      for (const double y : {box.top, box.bottom}) {
        if (is_in_area(area, {x, y})) ++inside;
      }
    }
    if (inside > 0) sum += kTouchesArea + kInArea * inside / (2 * kColumns);
  }
  return sum;
}

}  // namespace

double text_width(std::string_view text, bool is_bold) {
  double width = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xc0) == 0x80) continue;  // the rest of a character
    width += std::string_view(" .,:;il|'!jtfr()I").find(c) != std::string_view::npos ? 4.3
             : std::string_view("mwMWQ%").find(c) != std::string_view::npos          ? 11
             : c >= 'A' && c <= 'Z'                                                  ? 8.8
                                                                                     : 7.5;
  }
  return is_bold ? width * 1.12 : width;
}

bool overlap(const Box& a, const Box& b) {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

bool crosses(const Box& box, Position from, Position to) {
  // Liang and Barsky: what of the segment is left between each pair of sides.
  double first = 0;
  double last = 1;
  const auto clip = [&](double step, double room) {
    if (step == 0) return room > 0;
    const double share = room / step;
    if (step < 0) first = std::max(first, share);
    if (step > 0) last = std::min(last, share);
    return true;
  };
  return clip(from.x - to.x, from.x - box.left) && clip(to.x - from.x, box.right - from.x) &&
         clip(from.y - to.y, from.y - box.top) && clip(to.y - from.y, box.bottom - from.y) && first < last;
}

namespace {

struct Choice {
  PlacedLabel label;
  double cost = 0;
};

Choice best_place(const WantedLabel& wanted, const Obstacles& obstacles,
                  const std::vector<std::optional<PlacedLabel>>& others, const Box& within) {
  Choice best;
  bool is_first = true;
  for (size_t point = 0; point < wanted.at.size(); ++point) {
    for (const double distance : kDistances) {
      for (int direction = 0; direction < kDirections; ++direction) {
        const PlacedLabel place = at_distance(wanted.at[point], wanted.width, distance, direction);
        // To the right is best, then to the left.
        const double taste = distance + (direction == 0 ? 0 : direction == kDirections / 2 ? 1 : 4);
        const double sum = taste + (point == 0 ? 0 : kOtherPoint) + cost(place, obstacles, others, within);
        if (!is_first && sum >= best.cost) continue;
        best = {place, sum};
        is_first = false;
      }
    }
  }
  return best;
}

}  // namespace

std::vector<PlacedLabel> place_labels(const std::vector<WantedLabel>& wanted, const Obstacles& obstacles, Box within) {
  std::vector<PlacedLabel> best(wanted.size());
  double least = 0;
  // Who comes first has most room: each has its turn.
  for (size_t begin = 0; begin < wanted.size(); ++begin) {
    std::vector<std::optional<PlacedLabel>> placed(wanted.size());
    double sum = 0;
    for (int round = 0; round < kRounds; ++round) {
      sum = 0;
      for (size_t step = 0; step < wanted.size(); ++step) {
        const size_t index = (begin + step) % wanted.size();
        placed[index].reset();
        const Choice choice = best_place(wanted[index], obstacles, placed, within);
        placed[index] = choice.label;
        sum += choice.cost;
      }
    }
    if (begin > 0 && sum >= least) continue;
    least = sum;
    std::transform(placed.begin(), placed.end(), best.begin(), [](const auto& label) { return *label; });
  }
  return best;
}

}  // namespace xenopolis::experiment
