// `polis top` at a terminal.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/top_rows.h"

namespace xenopolis::cli {

struct TopView {
  TopOrder order = TopOrder::kCpu;
  bool reverse = false;
  double delay_s = 2;
  std::string search;
};

// Shows what `sample` gives, until q, Ctrl-C, a signal, or until `is_over`. Keys: see `?` there.
Status show_top(const std::string& host, TopView view, const std::function<std::vector<TopRow>()>& sample,
                const std::function<bool()>& is_over);

}  // namespace xenopolis::cli
