// Any sequence of event channel operations by Dom0 and three guests, one of which writes garbage to its memory, even in
// the middle of operations; against the model that says what the others must see (event/testing/).
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "event/testing/model_run.h"

namespace xenopolis::event::model {
namespace {

constexpr size_t kStepSize = 4;
constexpr size_t kHeader = kStepSize * (1 + ModelRun::kGuests);
constexpr size_t kMaxSteps = 128, kMaxSize = kHeader + kMaxSteps * kStepSize;

[[noreturn]] void report(const std::string& explanation) {
  fmt::print(stderr, "the model differs: {}\n", explanation);
  std::abort();
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool empty() const { return size_ == 0; }
  uint8_t byte() {
    if (size_ == 0) return 0;
    --size_;
    return *data_++;
  }
  Step step() {
    Step step;
    for (uint8_t* field : {&step.operation, &step.a, &step.b, &step.c}) *field = byte();
    return step;
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

void run(Input input) {
  const uint8_t flags = input.step().operation;
  // Rarely what takes long.
  constexpr Abi kAbis[] = {Abi::kFifo,     Abi::kFifo,     Abi::kFifo,     Abi::kFifo,
                           Abi::kTwoLevel, Abi::kTwoLevel, Abi::kTwoLevel, Abi::kThreeLevel};
  ModelRun::Options options{
      .dom0_abi = kAbis[flags % 8], .hostile = (flags & 0x8) != 0, .many_ports = (flags & 0xf0) == 0xf0, .guests = {}};
  for (Step& guest : options.guests) guest = input.step();
  ModelRun run(options, report);
  for (size_t steps = 0; steps < kMaxSteps && !input.empty(); ++steps) run.step(input.step());
  run.finish((flags & 0x30) == 0x10);
}

// Whole steps are inserted and taken out, many at once: libFuzzer by itself changes bytes, mostly few, and moves all
// behind them to other fields.
size_t change_steps(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  const auto below = [&](size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); };
  const size_t count = size / kStepSize, room = max_size / kStepSize - count;
  const size_t at = below(count + 1) * kStepSize;
  if (room == 0 || below(3) == 0) {
    const size_t gone = std::min(below(8) + 1, count - at / kStepSize) * kStepSize;
    std::memmove(data + at, data + at + gone, size - at - gone);
    return size - gone;
  }
  const size_t added = (below(std::min<size_t>(room, 32)) + 1) * kStepSize;
  std::memmove(data + at + added, data + at, size - at);
  for (size_t index = 0; index < added; ++index) data[at + index] = static_cast<uint8_t>(random() >> 8);
  return size + added;
}

}  // namespace
}  // namespace xenopolis::event::model

using namespace xenopolis::event::model;

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  if (seed % 2 == 0 || size < kHeader || max_size < kMaxSize) return LLVMFuzzerMutate(data, size, max_size);
  return kHeader + change_steps(data + kHeader, (size - kHeader) / kStepSize * kStepSize, max_size - kHeader, seed / 2);
}

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  // What a run does is more than the edges that it passes: long inputs at once, and little bookkeeping about them.
  static char options[][16] = {"-max_len=528", "-len_control=0", "-entropic=0", "-use_counters=0"};
  static_assert(kMaxSize == 528);
  static std::vector<char*> arguments(*argv, *argv + *argc);
  for (char* option : options) arguments.insert(arguments.begin() + 1, option);
  *argc = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);
  *argv = arguments.data();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  run({data, size});
  return 0;
}
