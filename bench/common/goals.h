// What a program is to be measured by: figures, or ratios of figures of one round, and what they should be.
#pragma once

#include <optional>
#include <string>

#include "common/results.h"

namespace xenopolis::bench {

struct Bound {
  const char* kind;  // "at_most" or "at_least"
  double value;
};
inline Bound at_most(double value) {
  return {"at_most", value};
}
inline Bound at_least(double value) {
  return {"at_least", value};
}

class Goals {
 public:
  explicit Goals(const Results& results) : results_(results) {}

  // What was not measured is left out.
  void ratio(const std::string& name, const Results::Side& over, const Results::Side& under, Bound bound);
  void value(const std::string& name, const Results::Side& side, double unit, Bound bound);
  // Of every round.
  void always_at_most(const std::string& name, const Results::Side& side, double unit, double most);
  void p99(const std::string& name, const Results::Side& side, double unit, Bound bound);

  // An array of {name, median, least, most, at_most or at_least, met}.
  nlohmann::json take() { return std::move(all_); }

 private:
  void add(const std::string& name, std::optional<nlohmann::json> measured, Bound bound);

  const Results& results_;
  nlohmann::json all_ = nlohmann::json::array();
};

void print_goals(const nlohmann::json& goals);

}  // namespace xenopolis::bench
