#include "experiment/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace xenopolis::experiment {
namespace {

constexpr double kLineHeight = kTextHeight;
constexpr double kBaseline = 4;  // below the middle of a text
constexpr double kMark = 4.5;    // half the size of a mark
constexpr double kTickGap = 4;
constexpr double kSteps[] = {1, 2, 5};
// Beyond so many decades a line at each power of ten is enough.
constexpr double kDecadesWithSteps = 1.6;
constexpr int kLinearSteps = 5;

std::string number(double value) {
  if (value >= 1e6) return fmt::format("{:g} M", value / 1e6);
  if (value >= 1000) return fmt::format("{},{:03}", static_cast<long>(value) / 1000, static_cast<long>(value) % 1000);
  return fmt::format("{:g}", value);
}

double linear_step(double span) {
  const double rough = span / kLinearSteps;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  for (const double step : kSteps) {
    if (power * step >= rough) return power * step;
  }
  return power * 10;
}

std::vector<std::pair<double, std::string>> ticks_of(const Axis& axis) {
  std::vector<std::pair<double, std::string>> ticks;
  if (axis.kind == Axis::Kind::kLinear) {
    const double step = linear_step(axis.high - axis.low);
    for (double value = axis.low; value <= axis.high + step / 1000; value += step)
      ticks.emplace_back(value, number(value));
    return ticks;
  }
  const bool steps_too = std::log10(axis.high / axis.low) <= kDecadesWithSteps;
  const double first = std::pow(10, std::floor(std::log10(axis.low) + 1e-9));
  for (double power = first; power <= axis.high * 1.0001; power *= 10) {
    for (const double step : kSteps) {
      const double value = power * step;
      if (value < axis.low * 0.9999 || value > axis.high * 1.0001 || (step > 1 && !steps_too)) continue;
      ticks.emplace_back(value, number(value));
    }
  }
  return ticks;
}

// The next value of the 1-2-5 row at or below (above) `value`.
double step_below(double value) {
  const double power = std::pow(10, std::floor(std::log10(value) + 1e-9));
  double best = power;
  for (const double step : kSteps) {
    if (power * step <= value * 1.0001) best = power * step;
  }
  return best;
}

std::string path(const std::vector<Position>& positions) {
  std::string path;
  for (const Position& at : positions) path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L", at.x, at.y);
  return path;
}

bool is_bold(std::string_view style) {
  return style.find("label") != std::string_view::npos;
}

double step_above(double value) {
  const double power = std::pow(10, std::floor(std::log10(value) + 1e-9));
  for (const double step : kSteps) {
    if (power * step >= value * 0.9999) return power * step;
  }
  return power * 10;
}

}  // namespace

std::string escape_xml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        // Control characters are no text in XML.
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t') escaped += c;
    }
  }
  return escaped;
}

Axis axis_for(Axis::Kind kind, const std::vector<double>& values, std::string title) {
  const auto [lowest, highest] = std::minmax_element(values.begin(), values.end());
  Axis axis{kind, 0, 1, std::move(title), {}};
  if (kind == Axis::Kind::kLinear) {
    const double step = linear_step(std::max(*highest, 1e-9));
    axis.high = std::ceil(*highest / step - 1e-9) * step;
    return axis;
  }
  axis.low = step_below(*lowest);
  axis.high = step_above(*highest);
  if (axis.high / axis.low < 9.99) axis.high = step_above(axis.low * 10);
  return axis;
}

Chart::Chart(double width, double height, Margins margins, Axis x, Axis y)
    : width_(width), height_(height), margins_(margins), x_(std::move(x)), y_(std::move(y)) {
  if (x_.ticks.empty()) x_.ticks = ticks_of(x_);
  if (y_.ticks.empty()) y_.ticks = ticks_of(y_);
}

double Chart::x_of(double value) const {
  const double share = x_.kind == Axis::Kind::kLinear
                           ? (value - x_.low) / (x_.high - x_.low)
                           : std::log(std::max(value, 1e-12) / x_.low) / std::log(x_.high / x_.low);
  return margins_.left + share * (width_ - margins_.left - margins_.right);
}

double Chart::y_of(double value) const {
  const double share = y_.kind == Axis::Kind::kLinear
                           ? (value - y_.low) / (y_.high - y_.low)
                           : std::log(std::max(value, 1e-12) / y_.low) / std::log(y_.high / y_.low);
  return height_ - margins_.bottom - share * (height_ - margins_.top - margins_.bottom);
}

bool Chart::is_inside(Point at) const {
  constexpr double kTolerance = 1e-6;
  return at.x >= x_.low * (1 - kTolerance) - kTolerance && at.x <= x_.high * (1 + kTolerance) &&
         at.y >= y_.low * (1 - kTolerance) - kTolerance && at.y <= y_.high * (1 + kTolerance);
}

std::vector<Position> Chart::positions(const std::vector<Point>& points) const {
  std::vector<Position> positions;
  for (const Point& point : points) positions.push_back({x_of(point.x), y_of(point.y)});
  return positions;
}

void Chart::line(const std::vector<Point>& points, std::string_view style) {
  std::vector<Point> inside;
  std::copy_if(points.begin(), points.end(), std::back_inserter(inside), [this](Point at) { return is_inside(at); });
  if (inside.size() < 2) return;
  drawn_.lines.push_back(positions(inside));
  body_ += fmt::format("<path class=\"line {}\" d=\"{}\"/>\n", style, path(drawn_.lines.back()));
}

void Chart::band(const std::vector<Point>& low, const std::vector<Point>& high, std::string_view style) {
  std::vector<Point> around = low;
  around.insert(around.end(), high.rbegin(), high.rend());
  for (Point& point : around) point.y = std::clamp(point.y, y_.low, y_.high);
  if (around.size() < 4) return;
  drawn_.areas.push_back(positions(around));
  body_ += fmt::format("<path class=\"band {}\" d=\"{}Z\"/>\n", style, path(drawn_.areas.back()));
}

void Chart::add_mark(Position at) {
  drawn_.boxes.push_back({at.x - kMark - 1, at.y - kMark - 1, at.x + kMark + 1, at.y + kMark + 1});
}

void Chart::dot(Point at, std::string_view style) {
  if (!is_inside(at)) return;
  add_mark({x_of(at.x), y_of(at.y)});
  body_ +=
      fmt::format("<circle class=\"dot {}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"/>\n", style, x_of(at.x), y_of(at.y));
}

void Chart::diamond(Point at, std::string_view style) {
  if (!is_inside(at)) return;
  add_mark({x_of(at.x), y_of(at.y)});
  body_ += fmt::format("<path class=\"diamond {0}\" d=\"M{1:.1f} {2:.1f}l{3} {3}l-{3} {3}l-{3} -{3}Z\"/>\n", style,
                       x_of(at.x), y_of(at.y) - kMark, kMark);
}

void Chart::level(double y, std::string_view style) {
  line({{x_.low, y}, {x_.high, y}}, style);
}

void Chart::add_text(double x, double y, std::string_view anchor, std::string_view style, std::string_view text) {
  body_ += fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", style, x, y,
                       anchor, escape_xml(text));
}

void Chart::text(Point at, double dx, double dy, std::string_view anchor, std::string_view style,
                 std::string_view text) {
  const double x = x_of(at.x) + dx;
  const double y = y_of(at.y) + dy;
  const double width = text_width(text, is_bold(style));
  const double left = anchor == "start" ? x : anchor == "end" ? x - width : x - width / 2;
  const double middle = y - kBaseline;
  drawn_.boxes.push_back({left, middle - kLineHeight / 2, left + width, middle + kLineHeight / 2});
  add_text(x, y, anchor, style, text);
}

void Chart::label(const std::vector<Point>& at, std::string_view style, std::string_view text) {
  point_labels_.push_back({positions(at), std::string(style), std::string(text)});
}

void Chart::add_leader(Position from, Position to) {
  drawn_.lines.push_back({from, to});
  body_ += fmt::format("<path class=\"leader\" d=\"{}\"/>\n", path({from, to}));
}

void Chart::place_point_labels() {
  std::vector<WantedLabel> wanted;
  for (const PointLabel& label : point_labels_) {
    wanted.push_back({label.at, text_width(label.text, is_bold(label.style))});
  }
  const Box within{margins_.left + 2, margins_.top, width_, height_ - margins_.bottom - 1};
  const std::vector<PlacedLabel> placed = place_labels(wanted, drawn_, within);
  for (const PlacedLabel& label : placed) {
    if (!label.needs_leader) continue;
    // From the rim of the mark.
    const double length = std::hypot(label.leader_end.x - label.at.x, label.leader_end.y - label.at.y);
    const double share = (kMark + 2) / length;
    add_leader({label.at.x + share * (label.leader_end.x - label.at.x),
                label.at.y + share * (label.leader_end.y - label.at.y)},
               label.leader_end);
  }
  for (size_t index = 0; index < placed.size(); ++index) {
    const PlacedLabel& label = placed[index];
    add_text(label.x, label.box.top + kLineHeight / 2 + kBaseline, label.anchor, point_labels_[index].style + " halo",
             point_labels_[index].text);
  }
  point_labels_.clear();
}

void Chart::end_label(Point at, std::string_view style, std::string_view text) {
  const double y = y_of(std::clamp(at.y, y_.low, y_.high));
  end_labels_.push_back({x_of(at.x), y, y, std::string(style), std::string(text)});
}

void Chart::place_end_labels() {
  std::stable_sort(end_labels_.begin(), end_labels_.end(),
                   [](const EndLabel& a, const EndLabel& b) { return a.wanted_y < b.wanted_y; });
  // Groups of labels that touch are centred where their members want to be, as far as there is room.
  struct Block {
    double sum;  // of where its members want to be
    size_t count;
    double top(double highest, double lowest) const {
      const double half = static_cast<double>(count - 1) / 2 * kLineHeight;
      return std::max(std::min(sum / static_cast<double>(count), lowest - half) - half, highest);
    }
  };
  const double highest = margins_.top;
  const double lowest = height_ - margins_.bottom;
  std::vector<Block> blocks;
  for (const EndLabel& label : end_labels_) {
    blocks.push_back({label.wanted_y, 1});
    while (blocks.size() > 1) {
      const Block last = blocks.back();
      Block& before = blocks[blocks.size() - 2];
      const double below = before.top(highest, lowest) + static_cast<double>(before.count) * kLineHeight;
      if (last.top(highest, lowest) >= below) break;
      before.sum += last.sum;
      before.count += last.count;
      blocks.pop_back();
    }
  }
  size_t index = 0;
  for (const Block& block : blocks) {
    double y = block.top(highest, lowest);
    for (size_t left = block.count; left > 0; --left, ++index, y += kLineHeight) end_labels_[index].y = y;
  }
  const double x = width_ - margins_.right + 16;
  for (const EndLabel& label : end_labels_) {
    // A thread from the end of the line to where its label had to go.
    if (std::abs(label.y - label.wanted_y) > 3 || label.x < x - 24)
      add_leader({label.x + 6, label.wanted_y}, {x - 4, label.y});
    drawn_.boxes.push_back({x - 2, label.y - kLineHeight / 2, width_, label.y + kLineHeight / 2});
    add_text(x, label.y + kBaseline, "start", "label " + label.style, label.text);
  }
  end_labels_.clear();
}

std::string Chart::axes() const {
  std::string axes;
  const double left = margins_.left;
  const double right = width_ - margins_.right;
  const double bottom = height_ - margins_.bottom;
  for (const auto& [value, text] : y_.ticks) {
    const double y = y_of(value);
    axes += fmt::format("<path class=\"grid\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", left, y, right);
    axes += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", left - 8,
                        y + 4, escape_xml(text));
  }
  axes += fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}H{:.1f}\"/>\n", left, bottom, right);
  // From the right: where there is no room for all, the last is said and others are not.
  double free_until = width_;
  for (auto tick = x_.ticks.rbegin(); tick != x_.ticks.rend(); ++tick) {
    const double x = x_of(tick->first);
    axes += fmt::format("<path class=\"axis\" d=\"M{:.1f} {:.1f}v4\"/>\n", x, bottom);
    const double half = text_width(tick->second, false) / 2;
    if (x + half > free_until) continue;
    free_until = x - half - kTickGap;
    axes += fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", x,
                        bottom + 18, escape_xml(tick->second));
  }
  axes += fmt::format("<text class=\"axis-title\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", 0.0, margins_.top - 14,
                      escape_xml(y_.title));
  axes += fmt::format("<text class=\"axis-title\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", right,
                      bottom + 36, escape_xml(x_.title));
  return axes;
}

std::string Chart::svg(const Frame& frame) {
  place_end_labels();
  place_point_labels();
  const double width = width_ + 2 * frame.padding;
  const double height = height_ + frame.offset_y + frame.extra_height + 2 * frame.padding;
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{0}\" viewBox=\"{10:g} {10:g} {1:g} {2:g}\" width=\"{1:g}\" "
      "height=\"{2:g}\" "
      "role=\"img\" aria-labelledby=\"{3}-t {3}-d\">\n<title id=\"{3}-t\">{4}</title>\n<desc id=\"{3}-d\">{5}</desc>\n"
      "{6}{7}<g transform=\"translate(0 {8:g})\">\n{9}{11}</g>\n</svg>\n",
      frame.css_class, width, height, frame.id, escape_xml(frame.title), escape_xml(frame.description),
      frame.style.empty() ? std::string() : "<style>" + frame.style + "</style>\n", frame.extra, frame.offset_y, axes(),
      0 - frame.padding, body_);
}

}  // namespace xenopolis::experiment
