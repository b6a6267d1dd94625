// SPDX-License-Identifier: Apache-2.0
// Trained models of others tell the stories they are known for.
#include "cli/run_octavo.h"
#include "octavo/infer/generate.h"
#include "octavo/infer/model.h"
#include "shared_data.h"

namespace octavo {
namespace {

std::string story(const std::string& directory, const std::string& recipe, const std::string& prompt,
                  int64_t tokens) {
  ThreadPool pool(2);
  LoadedModel loaded = load_model(directory, recipe, {1, 64, 256}, true, pool);
  const Tokenizer& tokenizer = *loaded.tokenizer;
  GenerateOptions options;
  options.sampler.temperature = 0;
  options.max_new_tokens = tokens;
  std::vector<int32_t> text = tokenizer.encode(prompt, tokenizer.adds_bos(), true);
  const GenerateResult result = generate(*loaded.model, text, options);
  return prompt + tokenizer.decode(result.tokens);
}

TEST(Stories, Stories260K) {
  const auto model = shared_data("model-stories260K");
  if (!model) GTEST_SKIP() << "no shared data";
  const TemporaryDirectory directory;
  const CommandResult imported =
      octavo_command({"import", "--input", *model + "/stories260K.bin", "--tokenizer", *model + "/tok512.bin",
                      "--out", directory / "stories"});
  ASSERT_EQ(imported.code, 0) << imported.err;
  for (const char* recipe : {"fp32", "bf16"}) {
    const std::string text = story(directory / "stories", recipe, "Once upon a time", 60);
    EXPECT_EQ(text.rfind("Once upon a time, there was a little girl named Lily.", 0), 0u)
        << recipe << ": " << text;
  }
}

TEST(Stories, TinyStories656K) {
  const auto model = shared_data("model-tinystories-656k");
  if (!model) GTEST_SKIP() << "no shared data";
  for (const char* recipe : {"fp32", "bf16"}) {
    const std::string text = story(*model, recipe, "<|start_story|>Once upon a time", 40);
    EXPECT_EQ(
        text.rfind("<|start_story|>Once upon a time, a little girl named Lily lived in a small house", 0), 0u)
        << recipe << ": " << text;
  }
}

}  // namespace
}  // namespace octavo
