// Random operations, against a model that knows nothing of words, queues and bitmaps.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "event/testing/model_run.h"

namespace xenopolis::event::model {

static void showValue(const Step& step, std::ostream& out) {
  out << fmt::format("{{{}, {}, {}, {}}}", step.operation, step.a, step.b, step.c);
}

namespace {

void fail_property(const std::string& explanation) {
  RC_FAIL(explanation);
}

rc::Gen<Step> any_step() {
  return rc::gen::map(rc::gen::arbitrary<std::array<uint8_t, 4>>(), [](const std::array<uint8_t, 4>& bytes) {
    return Step{bytes[0], bytes[1], bytes[2], bytes[3]};
  });
}

class ModelTest : public testing::TestWithParam<Abi> {
 protected:
  // Dom0 speaks the ABI under test, the guests anything.
  static bool holds(bool hostile) {
    return rc::check([hostile] {
      ModelRun::Options options{.dom0_abi = GetParam(), .hostile = hostile};
      options.many_ports = *rc::gen::inRange(0, 8) == 0;
      for (Step& guest : options.guests) guest = *any_step();
      const auto steps = *rc::gen::scale(6.0, rc::gen::container<std::vector<Step>>(any_step()));
      ModelRun run(options, fail_property);
      for (const Step& step : steps) run.step(step);
      run.finish();
    });
  }
};

TEST_P(ModelTest, AnySequenceOfOperationsDoesWhatTheModelDoes) {
  EXPECT_TRUE(holds(false));
}

TEST_P(ModelTest, AGuestThatWritesGarbageHarmsNobodyElse) {
  EXPECT_TRUE(holds(true));
}

INSTANTIATE_TEST_SUITE_P(Abis, ModelTest, kEveryAbi, name_of_abi);

}  // namespace
}  // namespace xenopolis::event::model
