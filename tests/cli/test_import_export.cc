// SPDX-License-Identifier: Apache-2.0
// import and export through the real program: what they make is a model, what they refuse leaves nothing
// behind.
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

}  // namespace
}  // namespace octavo
