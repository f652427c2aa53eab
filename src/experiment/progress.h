// How far a phase has come: a bar on a terminal, a line per tenth elsewhere. Writes to stderr.
#pragma once

#include <cstdint>
#include <string>

namespace xenopolis::experiment {

class Progress {
 public:
  // `total` things to do; nothing is shown when `quiet`.
  Progress(std::string phase, uint64_t total, bool quiet);
  ~Progress();

  void update(uint64_t done);

 private:
  void draw(uint64_t done, bool last);

  std::string phase_;
  uint64_t total_;
  bool quiet_;
  bool terminal_;
  uint64_t start_ns_;
  uint64_t drawn_ns_ = 0;
  size_t drawn_width_ = 0;
  uint64_t done_ = 0;
  uint64_t next_line_ = 0;
};

}  // namespace xenopolis::experiment
