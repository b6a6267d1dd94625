// SPDX-License-Identifier: Apache-2.0
// config.json of family octavo, and what cannot become a plain model.
#include "io_test_util.h"
#include "octavo/io/folded_export.h"
#include "octavo/io/hf_model.h"

namespace octavo {
namespace {

ModelConfig model() {
  ModelConfig c;
  c.family = Family::octavo;
  c.vocab_size = 40;
  c.context = 24;
  c.width = 24;
  c.layers = 3;
  c.heads = c.kv_heads = 3;
  c.head_dim = 8;
  c.ffn = 60;
  c.scheme = Scheme::munit;
  c.placement = NormPlacement::res_post;
  c.residual = Residual::fixed;
  c.tau = 0.35;
  c.init_std = 1;
  c.tied_head = false;
  return c;
}

ModelConfig back(const ModelConfig& c) {
  const TempDir dir;
  put_file(dir / "config.json", hf_config_json(c, FileDtype::f32));
  return read_hf_config(dir.path());
}

TEST(OctavoConfig, EveryChoiceComesBack) {
  ModelConfig other = model();
  other.scheme = Scheme::umup;
  other.placement = NormPlacement::pre;
  other.residual = Residual::running_mean;
  other.tau = 0;
  other.final_norm = true;
  other.learned_positions = other.sqrt_softmax = other.tied_head = true;
  other.multipliers = false;
  other.activation = Activation::relu;
  ModelConfig third = model();
  third.final_norm = false;
  third.rope_theta = 500;
  for (const ModelConfig& c : {model(), other, third}) {
    const ModelConfig r = back(c);
    EXPECT_EQ(r.family, Family::octavo);
    EXPECT_EQ(r.scheme, c.scheme);
    EXPECT_EQ(r.placement, c.placement);
    EXPECT_EQ(r.residual, c.residual);
    EXPECT_EQ(r.tau, c.tau);
    EXPECT_EQ(r.final_norm, c.final_norm);
    EXPECT_EQ(r.learned_positions, c.learned_positions);
    EXPECT_EQ(r.sqrt_softmax, c.sqrt_softmax);
    EXPECT_EQ(r.multipliers, c.multipliers);
    EXPECT_EQ(r.activation, c.activation);
    EXPECT_EQ(r.rope_theta, c.rope_theta);
    EXPECT_EQ(r.tied_head, c.tied_head);
    EXPECT_EQ(r.ffn, c.ffn);
    EXPECT_EQ(hf_config_json(r, FileDtype::f32), hf_config_json(c, FileDtype::f32));
  }
}

TEST(OctavoConfig, NamesTheWordItDoesNotKnow) {
  const TempDir dir;
  std::string text = hf_config_json(model(), FileDtype::f32);
  text.replace(text.find("\"munit\""), 7, "\"munt\"");
  put_file(dir / "config.json", text);
  {
    const std::string message = error_of([&] { read_hf_config(dir.path()); }, ExitCode::unsupported);
    for (const char* part : {"scheme", "munt", "munit"}) expect_contains(message, part);
  }
}

TEST(OctavoConfig, SchemesAreRefusedElsewhere) {
  ModelConfig c = model();
  c.tau = 1;
  {
    const std::string text = error_of([&] { validate(c, "here"); }, ExitCode::bad_data);
    for (const char* part : {"here", "tau"}) expect_contains(text, part);
  }
  c = model();
  c.placement = NormPlacement::pre;
  c.final_norm = false;
  {
    const std::string text = error_of([&] { validate(c, "here"); }, ExitCode::unsupported);
    for (const char* part : {"final_norm"}) expect_contains(text, part);
  }
  c = model();
  c.family = Family::gpt2;
  c.learned_positions = false;
  {
    const std::string text = error_of([&] { validate(c, "here"); }, ExitCode::unsupported);
    for (const char* part : {"gpt2", "octavo"}) expect_contains(text, part);
  }
}

TEST(FoldedExport, SaysWhatStandsInTheWay) {
  ModelConfig c = model();
  EXPECT_NE(folding_obstacle(c).find("end of the branches"), std::string::npos);
  c.placement = NormPlacement::pre;
  EXPECT_EQ(folding_obstacle(c), "");
  c.sqrt_softmax = true;
  EXPECT_NE(folding_obstacle(c).find("square roots"), std::string::npos);
  c = model();
  c.placement = NormPlacement::pre;
  c.kv_heads = 1;
  EXPECT_NE(folding_obstacle(c).find("share keys"), std::string::npos);
  c.family = Family::llama;
  EXPECT_NE(folding_obstacle(c).find("plain model already"), std::string::npos);
}

}  // namespace
}  // namespace octavo
