// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/generate.h"

#include "nn/nn_testing.h"
#include "octavo/base/error.h"

namespace octavo {
namespace {

class Generate : public testing::Test {
 protected:
  Generate()
      : source_(tiny_llama(), "fp32", {1, 1, 0}),
        model_(tiny_llama(), load_recipe("fp32"), Purpose::inference, pool_) {
    model_.allocate({1, 4, 20});
    for (Parameter& p : source_.model.parameters().all())
      model_.set_parameter(*model_.parameters().find(p.name), p.value);
    greedy_.sampler.temperature = 0;
  }
  ThreadPool pool_{2};
  TestModel source_;
  Transformer model_;
  GenerateOptions greedy_;
  const std::vector<int32_t> prompt_{3, 14, 15, 9, 26, 5};
};

TEST_F(Generate, GreedyIsTheArgmaxOfStepByStep) {
  greedy_.max_new_tokens = 8;
  const GenerateResult result = generate(model_, prompt_, greedy_);
  EXPECT_EQ(result.finish, "length");
  ASSERT_EQ(result.tokens.size(), 8u);
  std::vector<int32_t> text = prompt_;
  for (const int32_t token : result.tokens) {
    model_.reset_cache();
    std::span<const float> logits;
    for (const int32_t t : text) logits = model_.step(1, 1, &t);
    EXPECT_EQ(std::max_element(logits.begin(), logits.end()) - logits.begin(), token);
    text.push_back(token);
  }
}

TEST_F(Generate, StopsAtAStopToken) {
  greedy_.max_new_tokens = 8;
  const std::vector<int32_t> all = generate(model_, prompt_, greedy_).tokens;
  greedy_.stop = {40, all[3]};
  const GenerateResult result = generate(model_, prompt_, greedy_);
  EXPECT_EQ(result.finish, "stop");
  const auto first = std::find_if(all.begin(), all.end(), [&](int32_t t) { return t == 40 || t == all[3]; });
  EXPECT_EQ(result.tokens, std::vector<int32_t>(all.begin(), first));
}

TEST_F(Generate, EndsWhereTheContextDoes) {
  greedy_.max_new_tokens = 100;
  const GenerateResult result = generate(model_, prompt_, greedy_);
  EXPECT_EQ(result.finish, "context");
  EXPECT_EQ(result.tokens.size(), 15u);  // 20 rows, 6 of the prompt; the last token needs none
}

TEST_F(Generate, TheCallerCanStopIt) {
  greedy_.max_new_tokens = 100;
  std::vector<int32_t> seen;
  const GenerateResult result = generate(model_, prompt_, greedy_, [&](int32_t t) {
    seen.push_back(t);
    return seen.size() < 3;
  });
  EXPECT_EQ(result.finish, "caller");
  EXPECT_EQ(result.tokens, seen);
  EXPECT_EQ(seen.size(), 3u);
}

TEST_F(Generate, TheSeedDecides) {
  GenerateOptions options;
  options.max_new_tokens = 14;
  options.sampler.temperature = 1.5;
  const auto first = generate(model_, prompt_, options).tokens;
  EXPECT_EQ(generate(model_, prompt_, options).tokens, first);
  options.sampler.seed = 1;
  EXPECT_NE(generate(model_, prompt_, options).tokens, first);
}

TEST_F(Generate, ImpossiblePromptsAreErrors) {
  EXPECT_THROW(generate(model_, {}, greedy_), Error);
  EXPECT_THROW(generate(model_, std::vector<int32_t>{1, 41}, greedy_), Error);
  EXPECT_THROW(generate(model_, std::vector<int32_t>{-1}, greedy_), Error);
  try {
    generate(model_, std::vector<int32_t>(20, 1), greedy_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("20 tokens, the context 20"), std::string::npos) << error.what();
  }
  greedy_.max_new_tokens = 5;
  EXPECT_EQ(generate(model_, std::vector<int32_t>(19, 1), greedy_).tokens.size(), 2u);
}

}  // namespace
}  // namespace octavo
