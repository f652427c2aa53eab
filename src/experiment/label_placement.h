// Where labels of points in a diagram go, so that they lie neither on each other nor on what is drawn. All in pixels, y
// downwards.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace xenopolis::experiment {

struct Position {
  double x = 0;
  double y = 0;
};

struct Box {
  double left = 0;
  double top = 0;
  double right = 0;
  double bottom = 0;

  double width() const { return right - left; }
};

// What is drawn already. Labels lie on boxes only where there is no other place, on lines rather than on boxes, and
// within areas rather than on lines.
struct Obstacles {
  std::vector<Box> boxes;                    // marks and texts
  std::vector<std::vector<Position>> lines;  // each a row of points
  std::vector<std::vector<Position>> areas;  // each an outline
};

struct PlacedLabel {
  Position at;  // that one of its points beside which it is
  Box box;
  double x = 0;               // of the text
  std::string_view anchor;    // as text-anchor
  bool needs_leader = false;  // so far from its point that a thin line should lead there
  Position leader_end;
};

inline constexpr double kTextHeight = 15;

// As wide as the widest of the usual fonts makes it, at 12 pixels.
double text_width(std::string_view text, bool is_bold);

struct WantedLabel {
  std::vector<Position> at;  // points it may be beside, the best first; their marks are among the obstacles
  double width;
};

// One for each that is wanted, in their order. Few labels are expected: it tries some hundred places for each against
// everything, several times.
std::vector<PlacedLabel> place_labels(const std::vector<WantedLabel>& wanted, const Obstacles& obstacles, Box within);

bool overlap(const Box& a, const Box& b);
bool crosses(const Box& box, Position from, Position to);

}  // namespace xenopolis::experiment
