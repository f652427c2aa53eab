// Diagrams as SVG text: axes, lines, points and bands, labelled directly. What they look like is said by style classes
// (report_style.h); here are positions only.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

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
  // The end of something: a cross.
  void cross(Point at, std::string_view style);
  // A line over the whole width at y.
  void level(double y, std::string_view style);
  // Text beside a point: dx, dy in pixels; `anchor` as text-anchor (start, middle, end).
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
  };
  std::string svg(const Frame& frame);

  double x_of(double value) const;
  double y_of(double value) const;

 private:
  struct EndLabel {
    double x;
    double y;
    double wanted_y;
    std::string style;
    std::string text;
  };

  bool is_inside(Point at) const;
  std::string path(const std::vector<Point>& points) const;
  std::string axes() const;
  void place_end_labels();

  double width_;
  double height_;
  Margins margins_;
  Axis x_;
  Axis y_;
  std::string body_;
  std::vector<EndLabel> end_labels_;
};

}  // namespace xenopolis::experiment
