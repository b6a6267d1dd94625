// SPDX-License-Identifier: Apache-2.0
// Precedence of paths, and which layers stay wide.
#include <gtest/gtest.h>

#include "octavo/base/error.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {
namespace {

Recipe parse(const std::string& text) { return parse_recipe(text, "test.toml"); }

TEST(Roles, PathsAndRolesAreOneToOne) {
  for (int i = 0; i < kRoleCount; ++i) {
    const Role role = static_cast<Role>(i);
    EXPECT_EQ(find_role(role_path(role)), role) << role_path(role);
    EXPECT_EQ(role_chain(role).back(), role) << role_path(role);
  }
  EXPECT_FALSE(find_role("gemm.fprop.grad_output"));
  try {
    Recipe().role("gemm.fprop.imput");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "unknown role 'gemm.fprop.imput' (did you mean 'gemm.fprop.input'?)");
  }
}

TEST(Roles, EachLevelOverridesTheOneBefore) {
  std::string text = "gemm.format = 'e4m3'\n";
  EXPECT_EQ(parse(text).role(Role::gemm_wgrad_input).format, Format::e4m3);
  text += "gemm.input.format = 'e5m2'\n";
  EXPECT_EQ(parse(text).role(Role::gemm_wgrad_input).format, Format::e5m2);
  EXPECT_EQ(parse(text).role(Role::gemm_fprop_weight).format, Format::e4m3);
  text += "gemm.wgrad.format = 'e4m3fnuz'\n";
  EXPECT_EQ(parse(text).role(Role::gemm_wgrad_input).format, Format::e4m3fnuz);
  EXPECT_EQ(parse(text).role(Role::gemm_fprop_input).format, Format::e5m2);
  text += "gemm.wgrad.input.format = 'e5m2fnuz'\n";
  EXPECT_EQ(parse(text).role(Role::gemm_wgrad_input).format, Format::e5m2fnuz);
  EXPECT_EQ(parse(text).role(Role::gemm_wgrad_grad_output).format, Format::e4m3fnuz);
}

TEST(Roles, KeyByKey) {
  const Recipe r = parse(R"(
[gemm]
format = "e4m3"
rounding = "stochastic"
[gemm.scaling]
kind = "current"
margin = 1
[gemm.dgrad]
scaling.margin = 2
[gemm.grad_output]
format = "e5m2"
[gemm.dgrad.grad_output]
scaling.pow2 = false
)");
  const RoleSpec& spec = r.role(Role::gemm_dgrad_grad_output);
  EXPECT_EQ(spec.format, Format::e5m2);
  EXPECT_EQ(spec.rounding, Rounding::stochastic);
  EXPECT_EQ(spec.scaling.kind, ScalingKind::current);
  EXPECT_EQ(spec.scaling.margin, 2);
  EXPECT_FALSE(spec.scaling.pow2);
  EXPECT_TRUE(r.role(Role::gemm_dgrad_weight).scaling.pow2);
  EXPECT_EQ(r.role(Role::gemm_wgrad_grad_output).scaling.margin, 1);
}

TEST(Roles, TheOrderInTheFileDoesNotMatter) {
  EXPECT_EQ(parse("gemm.input.format = 'e5m2'\ngemm.format = 'e4m3'\n"),
            parse("gemm.format = 'e4m3'\ngemm.input.format = 'e5m2'\n"));
}

TEST(Roles, AWideFormatDropsInheritedScaling) {
  const Recipe r = parse(
      "[gemm]\nformat = 'e4m3'\ngranularity = 'row'\nscaling.kind = 'current'\n"
      "[gemm.weight]\nformat = 'bf16'\n[gemm.dgrad.weight]\nformat = 'e5m2'\n");
  RoleSpec bf16;
  bf16.format = Format::bf16;
  EXPECT_EQ(r.role(Role::gemm_fprop_weight), bf16);
  // Dropped, not hidden: 8 bits again start from a plain cast.
  EXPECT_EQ(r.role(Role::gemm_dgrad_weight).scaling.kind, ScalingKind::none);
  EXPECT_EQ(r.role(Role::gemm_fprop_input).granularity.kind, Granularity::row);
}

TEST(Roles, ScalingMayStandAboveTheFormat) {
  const Recipe r = parse("[gemm.scaling]\nkind = 'current'\n[gemm.input]\nformat = 'e4m3'\n");
  EXPECT_EQ(r.role(Role::gemm_fprop_input).scaling.kind, ScalingKind::current);
  EXPECT_EQ(r.role(Role::gemm_fprop_weight).scaling.kind, ScalingKind::none);
}

TEST(Roles, DefaultsFollowTheirSource) {
  const Recipe wide = parse("gemm.output.format = 'fp32'");
  for (const Role role : {Role::attention_q, Role::attention_p, Role::store_kv_cache, Role::comm_activation})
    EXPECT_EQ(wide.role(role).format, Format::fp32) << role_path(role);
  EXPECT_EQ(wide.role(Role::gemm_fprop_input).format, Format::bf16);

  const Recipe state = parse("store.master.format = 'bf16'\nstore.weight_grad.format = 'bf16'");
  EXPECT_EQ(state.role(Role::comm_weight_grad).format, Format::bf16);
  EXPECT_EQ(state.role(Role::store_moment1).format, Format::fp32);

  const Recipe comm = parse("comm.format = 'bf16'");
  for (const Role role : {Role::comm_weight, Role::comm_weight_grad, Role::comm_activation})
    EXPECT_EQ(comm.role(role).format, Format::bf16) << role_path(role);

  const Recipe fp8 = parse("gemm.format = 'e4m3'\ngemm.scaling.kind = 'current'");
  EXPECT_EQ(fp8.role(Role::store_weight), fp8.role(Role::gemm_fprop_weight));
  EXPECT_EQ(fp8.role(Role::comm_weight), fp8.role(Role::gemm_fprop_weight));
  EXPECT_EQ(fp8.role(Role::store_master).format, Format::fp32);
}

TEST(Layers, Globs) {
  struct Case {
    const char *glob, *name;
    bool matches;
  };
  for (const Case& c : {Case{"lm_head", "lm_head", true},
                        {"lm_head", "lm_head.weight", true},
                        {"lm_head", "model.lm_head.weight", true},
                        {"lm_head", "lm_head2", false},
                        {"norm", "blocks.0.norm1", false},
                        {"norm?", "blocks.0.norm1", true},
                        {"*norm*", "blocks.0.post_norm2.weight", true},
                        {"blocks.0", "blocks.0.attn.qkv", true},
                        {"blocks.0", "blocks.01.attn.qkv", false},
                        {"blocks.1", "blocks.11.mlp", false},
                        {"blocks.*.mlp.down", "blocks.7.mlp.down", true},
                        {"*.down", "blocks.7.mlp.down", true},
                        {"*.down", "down", false},
                        {"qkv", "blocks.3.attn.qkv", true},
                        {"attn.qkv", "blocks.3.attn.qkv.weight", true},
                        {"attn.q", "blocks.3.attn.qkv", false},
                        {"*", "anything.at.all", true},
                        {"a*b*c", "aXbYbZc", true},
                        {"a*b*c", "aXbYbZ", false},
                        {"", "x", false}})
    EXPECT_EQ(matches_tensor(c.glob, c.name), c.matches) << c.glob << " on " << c.name;
  // Many stars must not take exponential time.
  EXPECT_FALSE(matches_tensor("a*a*a*a*a*a*a*a*a*a*a*a*b", std::string(2000, 'a')));
}

TEST(Layers, KeptHighMeansTheWideFormatInAllSixOperands) {
  const Recipe r = parse(
      "[gemm]\nformat = 'e4m3'\nscaling.kind = 'current'\n[gemm.output]\nformat = 'fp32'\n"
      "[layers]\nkeep_high = ['lm_head', 'mlp.up']\nfirst_blocks_high = 1\nlast_blocks_high = 2\n");
  RoleSpec wide;
  wide.format = Format::fp32;
  const auto all = [](const LinearSpecs& s) {
    return std::vector<RoleSpec>{s.fprop_input,  s.fprop_weight,      s.dgrad_grad_output,
                                 s.dgrad_weight, s.wgrad_grad_output, s.wgrad_input};
  };
  const auto high = [&](const char* name, int block) {
    const LinearSpecs specs = r.linear(name, block, 6);
    const RoleSpec expected = specs.kept_high ? wide : r.role(Role::gemm);
    for (const RoleSpec& spec : all(specs)) EXPECT_EQ(spec, expected) << name << " " << block;
    EXPECT_EQ(specs.output, Format::fp32);
    return specs.kept_high;
  };
  EXPECT_TRUE(high("lm_head", -1));
  EXPECT_TRUE(high("blocks.0.attn.qkv", 0));
  EXPECT_FALSE(high("blocks.1.attn.qkv", 1));
  EXPECT_TRUE(high("blocks.1.mlp.up", 1));
  EXPECT_FALSE(high("blocks.3.mlp.down", 3));
  EXPECT_TRUE(high("blocks.4.attn.qkv", 4));
  EXPECT_TRUE(high("blocks.5.attn.qkv", 5));
}

TEST(Layers, EachOperandComesFromItsOwnUse) {
  const Recipe r = parse(
      "gemm.fprop.input.format = 'e4m3'\ngemm.fprop.weight.format = 'e5m2'\n"
      "gemm.dgrad.grad_output.format = 'e4m3fnuz'\ngemm.dgrad.weight.format = 'e5m2fnuz'\n"
      "gemm.wgrad.grad_output.format = 'fp16'\ngemm.wgrad.input.format = 'fp32'\n");
  const LinearSpecs s = r.linear("blocks.0.attn.qkv", 0, 1);
  EXPECT_EQ(s.fprop_input.format, Format::e4m3);
  EXPECT_EQ(s.fprop_weight.format, Format::e5m2);
  EXPECT_EQ(s.dgrad_grad_output.format, Format::e4m3fnuz);
  EXPECT_EQ(s.dgrad_weight.format, Format::e5m2fnuz);
  EXPECT_EQ(s.wgrad_grad_output.format, Format::fp16);
  EXPECT_EQ(s.wgrad_input.format, Format::fp32);
}

}  // namespace
}  // namespace octavo
