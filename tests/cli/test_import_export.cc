// SPDX-License-Identifier: Apache-2.0
// import and export through the real program: what they make is a model, what they refuse leaves nothing
// behind.
#include <cmath>
#include <cstring>

#include "cli/run_octavo.h"
#include "io/gguf_builder.h"

namespace octavo {
namespace {

class ImportExport : public testing::Test {
 protected:
  CommandResult succeed(const std::vector<std::string>& args) {
    CommandResult result = octavo_command(args);
    EXPECT_EQ(result.code, 0) << result.err;
    return result;
  }
  void refuse(const std::vector<std::string>& args, int code, const std::string& word) {
    const CommandResult result = octavo_command(args);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_NE(result.err.find(word), std::string::npos) << "wants: " << word << "\n" << result.err;
    EXPECT_FALSE(fs::exists(at("out")));
    for (const auto& entry : fs::directory_iterator(directory_.path()))
      EXPECT_EQ(entry.path().string().find(".tmp-"), std::string::npos) << entry.path();
  }
  std::string at(const std::string& name) const { return directory_ / name; }
  TemporaryDirectory directory_;
};

GgufBuilder with_tokenizer() {
  GgufBuilder b = small_llama();
  b.set("tokenizer.ggml.model", gguf_string("gpt2"));
  b.set("tokenizer.ggml.pre", gguf_string("gpt-2"));
  b.set("tokenizer.ggml.tokens", gguf_strings({"a", "b", "ab", "c", "<|end|>"}));
  b.set("tokenizer.ggml.token_type", gguf_ints({1, 1, 1, 1, 3}));
  b.set("tokenizer.ggml.merges", gguf_strings({"a b"}));
  b.set("tokenizer.ggml.eos_token_id", gguf_u32(4));
  return b;
}

TEST_F(ImportExport, AGgufFileBecomesAModelDirectory) {
  spill(at("m.gguf"), with_tokenizer().bytes());
  succeed({"import", at("m.gguf"), "--out", at("model")});
  const CommandResult ids = succeed({"tokenize", "--tokenizer", at("model"), "--text", "abc", "--json"});
  EXPECT_NE(ids.out.find("[2,3]"), std::string::npos) << ids.out;
  succeed({"generate", "--model", at("model"), "--prompt", "ab", "--greedy", "--max-new-tokens", "3"});
  refuse({"import", at("m.gguf"), "--out", at("out"), "--tokenizer", at("absent")}, 4, "absent");
  // Everywhere else such a file is answered with the command that makes a model of it.
  refuse({"generate", "--model", at("m.gguf"), "--prompt", "a"}, 2, "octavo import " + at("m.gguf"));
  refuse({"eval", "--model", at("m.gguf"), "--data", at("m.gguf")}, 2, "octavo import");
  refuse({"export", "--model", at("m.gguf"), "--out", at("out")}, 2, "octavo import");
}

TEST_F(ImportExport, FilesThatCannotBeImported) {
  spill(at("cut.gguf"), with_tokenizer().bytes().substr(0, 900));
  refuse({"import", at("cut.gguf"), "--out", at("out")}, 4, "cut.gguf");
  GgufBuilder b = with_tokenizer();
  b.set("tokenizer.ggml.pre", gguf_string("unheard-of"));
  spill(at("pre.gguf"), b.bytes());
  refuse({"import", at("pre.gguf"), "--out", at("out")}, 3, "the pre-tokenizer 'unheard-of'");
  spill(at("other.bin"), "no model at all, but long enough to have a header of some kind");
  refuse({"import", at("other.bin"), "--out", at("out")}, 2, "--tokenizer");
  refuse({"import", at("absent.gguf"), "--out", at("out")}, 4, "absent.gguf");
}

TEST_F(ImportExport, AnExportedModelIsAModelAgain) {
  spill(at("m.gguf"), with_tokenizer().bytes());
  succeed({"import", at("m.gguf"), "--out", at("model")});
  for (const char* granularity : {"tensor", "channel"}) {
    const std::string out = at(std::string("fp8-") + granularity);
    const CommandResult result =
        succeed({"export", "--model", at("model"), "--granularity", granularity, "--out", out});
    EXPECT_NE(result.out.find("7 matrices in F8_E4M3"), std::string::npos) << result.out;
    EXPECT_TRUE(fs::exists(out + "/tokenizer.json"));
    succeed({"generate", "--model", out, "--prompt", "ab", "--greedy", "--max-new-tokens", "3"});
    // Exporting the exported model again changes no value: the weights already are codes times powers of two.
    // (A scale may halve, where rounding took the largest weight down to a power of two below.)
    const std::string twice = at(std::string("twice-") + granularity);
    succeed({"export", "--model", out, "--granularity", granularity, "--out", twice});
    for (const std::string& model : {out, twice})
      succeed({"export", "--model", model, "--format", "bf16", "--out", model + "-bf16"});
    EXPECT_TRUE(slurp(out + "-bf16/model.safetensors") == slurp(twice + "-bf16/model.safetensors"));
    EXPECT_GT(slurp(out + "-bf16/model.safetensors").size(), 1000u);
  }
  refuse({"export", "--model", at("model"), "--format", "fp8-block", "--out", at("out")}, 3,
         "multiples of 128");
  refuse({"export", "--model", at("model"), "--format", "fp8-blok", "--out", at("out")}, 2, "--format");
  refuse(
      {"export", "--model", at("model"), "--format", "bf16", "--granularity", "channel", "--out", at("out")},
      2, "--granularity is for compressed-tensors");
  refuse({"export", "--model", at("model"), "--recipe", "fp8-amax-fnuz", "--out", at("out")}, 3, "e4m3fnuz");
}

/// The same with weights as a model has them: no more than 1, with bits that FP8 and BF16 do not keep.
std::string with_usual_weights() {
  GgufBuilder b = with_tokenizer();
  int n = 0;
  for (GgufBuilder::Tensor& tensor : b.tensors)
    for (size_t i = 0; i < tensor.data.size(); i += sizeof(float)) {
      const float value = std::sin(static_cast<float>(++n) * 37.0f);
      std::memcpy(tensor.data.data() + i, &value, sizeof(float));
    }
  return b.bytes();
}

TEST_F(ImportExport, AQuantizedModelGivesTheBitsOfItsRecipe) {
  spill(at("m.gguf"), with_usual_weights());
  succeed({"import", at("m.gguf"), "--out", at("model")});
  spill(at("text"), "abcabba");
  for (const std::string recipe : {"fp8-amax", "fp8-cscale:4", "fp8-mse", "fp8-row", "fp8-amax-fp16"}) {
    const std::string out = at("q-" + recipe);
    const CommandResult result =
        succeed({"quantize", "--model", at("model"), "--recipe", recipe, "--out", out});
    EXPECT_NE(result.out.find("7 matrices in F8_E4M3"), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("worst SNR"), std::string::npos) << result.out;
    succeed({"logits", "--model", at("model"), "--recipe", recipe, "--file", at("text"), "--out", at("a")});
    succeed(
        {"logits", "--model", out, "--recipe", out + "/recipe.toml", "--file", at("text"), "--out", at("b")});
    EXPECT_TRUE(slurp(at("a")) == slurp(at("b"))) << recipe;
    // The recipe of the directory is what eval computes in unless told.
    const std::vector<std::string> eval{"eval", "--model", out, "--text", at("text"), "--json"};
    const CommandResult own = succeed(eval);
    EXPECT_NE(own.out.find("/recipe.toml"), std::string::npos) << own.out;
    std::vector<std::string> high = eval;
    high.insert(high.end(), {"--recipe", "fp32"});
    EXPECT_NE(succeed(high).out.find("\"recipe\":\"fp32\""), std::string::npos);
  }
  refuse({"quantize", "--model", at("model"), "--recipe", "bf16", "--out", at("out")}, 3, "bf16");
  refuse({"quantize", "--model", at("model"), "--recipe", "fp8-amax-fnuz", "--out", at("out")}, 3,
         "e4m3fnuz");
  refuse({"quantize", "--model", at("absent"), "--out", at("out")}, 4, "absent");
}

TEST_F(ImportExport, EvaluationsRecordTheirScales) {
  spill(at("m.gguf"), with_usual_weights());
  succeed({"import", at("m.gguf"), "--out", at("model")});
  spill(at("text"), "abcabbaabcabbaab");
  const std::vector<std::string> eval{"eval", "--model", at("model"), "--text", at("text"), "--json"};
  std::vector<std::string> recorded = eval;
  recorded.insert(recorded.end(), {"--recipe", "fp8-amax", "--record", at("scales")});
  std::vector<std::string> plain = eval;
  plain.insert(plain.end(), {"--recipe", "fp8-amax"});
  // Recording changes no figure.
  EXPECT_EQ(succeed(recorded).out, succeed(plain).out);
  const std::string lines = slurp(at("scales/tensors.jsonl"));
  for (const char* role : {"gemm.weight", "gemm.input"})
    EXPECT_NE(lines.find(role), std::string::npos) << role;
  succeed({"report", at("scales"), "--out", at("scales.html")});
  EXPECT_NE(slurp(at("scales.html")).find("gemm.input"), std::string::npos);
  EXPECT_EQ(octavo_command(recorded).code, 2);  // it is there already
  std::vector<std::string> none = eval;
  none.insert(none.end(), {"--recipe", "bf16", "--record", at("none")});
  EXPECT_EQ(octavo_command(none).code, 2);
  EXPECT_FALSE(fs::exists(at("none")));
}

}  // namespace
}  // namespace octavo
