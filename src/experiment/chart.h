// Diagrams as SVG text: axes, lines, points and bands, labelled directly. What they look like is said by style classes
// (report_style.h); here are positions only.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "experiment/label_placement.h"

namespace xenopolis::experiment {

// Text for element content and for attribute values in double quotes.
std::string escape_xml(std::string_view text);

struct Axis {
  enum class Kind { kLinear, kLogarithmic };
  Kind kind = Kind::kLogarithmic;
  double low = 1;
  double high = 10;
  std::string title;  // with the unit
  // Where there are lines across, and what is written there; empty: by Chart's own choice.
  std::vector<std::pair<double, std::string>> ticks;
};

// Widened to whole steps of a 1-2-5 row, so that the smallest and the greatest value lie within. `values` not empty,
// and above zero for a logarithmic axis.
Axis axis_for(Axis::Kind kind, const std::vector<double>& values, std::string title);

struct Point {
  double x = 0;
  double y = 0;
};

class Chart {
 public:
  struct Margins {
    double left = 56;
    double right = 130;  // for labels at the ends of lines
    double top = 30;     // for the title of the vertical axis
    double bottom = 44;
  };

  Chart(double width, double height, Margins margins, Axis x, Axis y);

  // `style`: class names. What lies outside of the axes is cut off.
  void line(const std::vector<Point>& points, std::string_view style);
  // Between two rows of points over the same x.
  void band(const std::vector<Point>& low, const std::vector<Point>& high, std::string_view style);
  void dot(Point at, std::string_view style);
  // Something that is another's: a hollow diamond.
  void diamond(Point at, std::string_view style);
  // A line over the whole width at y.
  void level(double y, std::string_view style);
  // A label for what has these points, beside one of them where it lies on nothing else, with a thin line if it is far.
  void label(const std::vector<Point>& at, std::string_view style, std::string_view text);
  // Text at a place beside a point: dx, dy in pixels; `anchor` as text-anchor (start, middle, end).
  void text(Point at, double dx, double dy, std::string_view anchor, std::string_view style, std::string_view text);
  // A label in the right margin for what ends at `at`; those that would lie on each other are moved apart.
  void end_label(Point at, std::string_view style, std::string_view text);

  // The drawing as an <svg> element. `id` makes its ids unique in a page; title and description are read to those who
  // do not see it. `style`: CSS within, for a file of its own; `extra`: elements drawn before everything else.
  struct Frame {
    std::string id;
    std::string title;
    std::string description;
    std::string css_class;
    std::string style;
    std::string extra;
    double offset_y = 0;  // the drawing begins so far below the top
    double extra_height = 0;
    double padding = 0;  // on all sides
  };
  std::string svg(const Frame& frame);

  double x_of(double value) const;
  double y_of(double value) const;

 private:
  struct PointLabel {
    std::vector<Position> at;
    std::string style;
    std::string text;
  };
  struct EndLabel {
    double x;
    double y;
    double wanted_y;
    std::string style;
    std::string text;
  };

  bool is_inside(Point at) const;
  std::vector<Position> positions(const std::vector<Point>& points) const;
  std::string axes() const;
  void add_text(double x, double y, std::string_view anchor, std::string_view style, std::string_view text);
  void add_mark(Position at);
  void add_leader(Position from, Position to);
  void place_end_labels();
  void place_point_labels();

  double width_;
  double height_;
  Margins margins_;
  Axis x_;
  Axis y_;
  std::string body_;
  Obstacles drawn_;
  std::vector<PointLabel> point_labels_;
  std::vector<EndLabel> end_labels_;
};

}  // namespace xenopolis::experiment
