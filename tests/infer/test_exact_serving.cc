// SPDX-License-Identifier: Apache-2.0
// Which recipes are served with the bits of training.
#include <gtest/gtest.h>

#include "octavo/infer/model.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {
namespace {

TEST(ServesExactly, WhereEveryScaleIsStatic) {
  EXPECT_TRUE(serves_exactly(load_recipe("munit")));
  for (const char* name : {"bf16", "fp32", "fp8-amax", "fp8-cscale", "fp8-delayed", "fp8-row"})
    EXPECT_FALSE(serves_exactly(load_recipe(name))) << name;
}

TEST(ServesExactly, OneOperandWithAnotherRuleIsEnoughAgainstIt) {
  for (const Role role : {Role::gemm_fprop_input, Role::gemm_dgrad_grad_output, Role::gemm_wgrad_input}) {
    Recipe recipe = load_recipe("munit");
    RoleOverride keys = recipe.written(role);
    keys.kind = ScalingKind::current;
    recipe.write(role, keys);
    EXPECT_FALSE(serves_exactly(recipe)) << role_path(role);
  }
}

}  // namespace
}  // namespace octavo
