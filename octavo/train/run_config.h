// SPDX-License-Identifier: Apache-2.0
// Everything that defines a run besides the recipe's text: one schema for presets, --config files, --set and
// flags, and for the config.toml written into the run directory.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "octavo/nn/block.h"
#include "octavo/nn/model_config.h"

namespace octavo {

struct RunConfig {
  std::string preset;  ///< where the values below started from; informative
  std::string recipe = "fp8-amax";
  std::vector<std::string> recipe_set;  ///< changes of the recipe, load_recipe()
  std::string out;                      ///< run directory
  std::string init;                     ///< model directory to start from; empty: random
  int64_t seed = 1;
  int64_t threads = 0;  ///< 0: every CPU

  struct Model {
    std::string family = "gpt2";
    // Of family octavo; empty or 0: the scheme's own.
    std::string scheme = "munit", norm, residual, final_norm;
    std::string positions = "rotary", softmax = "plain", multipliers = "scheme";
    double tau = 0;
    int64_t vocab_size = 0;  ///< 0: from the data
    int64_t context = 256, width = 256, layers = 4, heads = 4, kv_heads = 0, head_dim = 0, ffn = 0;
    std::string activation;  ///< empty: the family's own
    double norm_eps = 1e-5, rope_theta = 10000.0, init_std = 0;
    bool tied_head = true;
  } model;

  struct Data {
    std::vector<std::string> train, val;  ///< files, or one directory that `octavo prepare` wrote
    int64_t sequence_length = 0;          ///< 0: the model's context
    std::string packing = "whole";        ///< of examples: whole, single
  } data;

  struct Train {
    int64_t steps = 1000, micro_batch = 8, grad_accum = 1;
    bool pack_weights = false;                   ///< once a step, for all micro-batches
    std::vector<std::string> recompute{"auto"};  ///< auto, none, norm, activation, block
  } train;

  struct Parallel {
    int64_t logical_ranks = 0;  ///< data-parallel ranks; 0: one for each process
    int64_t zero = 0;           ///< ZeRO stage
    std::string partition = "auto";
    double bucket_mb = 32, deadline = 600;
  } parallel;

  struct Optim {
    std::string name = "adamw";
    int64_t base_width = 0;  ///< where lr and weight_decay were found; 0: at this model's width
    double lr = 1e-3, min_lr = 1e-4;
    int64_t warmup_steps = 100;
    std::string schedule = "cosine";
    double weight_decay = 0.1, beta1 = 0.9, beta2 = 0.95, eps = 1e-8, clip = 1.0;
    bool decoupled_decay = false;
  } optim;

  struct Eval {
    int64_t every = 250, batches = 20;
  } eval;

  struct Log {
    int64_t every = 10, tensors_every = 100;
    bool tensorboard = false;
    bool profile = false;
  } log;

  struct Checkpoint {
    int64_t every = 500, keep = 2;
  } checkpoint;
};

/// One entry of the schema, for --help and docs/run-config.md.
struct ConfigKey {
  std::string key, type, value, help;
};
/// Every key with its value in `config`.
std::vector<ConfigKey> config_keys(const RunConfig& config);

/// Applies the TOML text over `config`. Unknown keys and wrong types throw usage, naming `source`, the line
/// and the nearest key.
void apply_toml(RunConfig& config, const std::string& text, const std::string& source);
/// Applies "section.key=value"; the value is TOML, or a bare word taken as a string. `source` is the flag
/// that messages name.
void apply_setting(RunConfig& config, const std::string& assignment, const std::string& source = "--set");
/// The whole configuration as TOML; apply_toml of it gives the same configuration.
std::string to_toml(const RunConfig& config);
/// Throws usage when numbers make no sense (steps < 1, clip < 0, ...).
void validate(const RunConfig& config);

/// Presets are TOML of the same schema, embedded in the program.
std::vector<std::string> preset_names();
/// Text of a preset; throws usage with the nearest name. `first line "# ..."` is its description.
std::string preset_text(const std::string& name);
RunConfig load_preset(const std::string& name);

/// What train.recompute leaves in memory. Throws usage on an unknown word. `auto` is `norm` and `activation`
/// where the recipe quantizes the inputs of linear layers to 8 bits: making codes again costs the backward
/// passes of norm and activation one written byte an element.
Kept kept_state(const RunConfig& config, const Recipe& recipe);

/// The model these values describe; `vocab_size` replaces a 0. Validated.
ModelConfig model_config(const RunConfig& config, int64_t vocab_size);

}  // namespace octavo
