// Numbers that others have published, with where and on what. They are not measurements of ours.
#pragma once

#include <span>
#include <string_view>

namespace xenopolis::experiment {

struct Published {
  std::string_view who;
  std::string_view what;      // that was measured
  std::string_view figure;    // for the table
  std::string_view hardware;  // as the source says
  std::string_view source;
  std::string_view url;  // may be empty
  // For the diagram: instances that were there and milliseconds for one more; a second point if x2 > 0.
  double x1 = 0;
  double ms1 = 0;
  double x2 = 0;
  double ms2 = 0;
  std::string_view label;  // beside one of the points; empty: not in the diagram
};

std::span<const Published> published();

}  // namespace xenopolis::experiment
