// SPDX-License-Identifier: Apache-2.0
// Everything a run needs to go on as if it had never stopped, in one directory that appears complete or not
// at all.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "octavo/nn/transformer.h"
#include "octavo/train/loss_scaler.h"

namespace octavo {

/// What the loop knows besides the tensors. Data order, learning rate and random numbers are pure functions
/// of (seed, step).
struct TrainState {
  int64_t step = 0;    ///< optimizer steps done
  int64_t tokens = 0;  ///< targets trained on
  LossScaleState loss_scale{};
};

/// Files: model.safetensors + config.json (Hugging Face, F32 masters) and the tokenizer, so a checkpoint is
/// itself a model; optimizer.safetensors (moment1.*, moment2.*, scaler.*), state.json, and MANIFEST.json with
/// checksums, written last. The directory is built beside its final place and renamed; on any error what was
/// there before is untouched.
void save_checkpoint(const std::string& directory, Transformer& model, const TrainState& state,
                     const std::string& tokenizer);

/// Verifies the manifest, then fills masters, moments and scaler state. Throws bad_data naming the damaged or
/// missing piece.
TrainState load_checkpoint(const std::string& directory, Transformer& model);

/// The model alone, as save_checkpoint writes it, without optimizer state: `final/`.
void save_final(const std::string& directory, Transformer& model, const std::string& tokenizer);

/// The checkpoint of the highest step in `run`/checkpoints whose manifest is complete, or nothing. Damaged
/// ones are skipped and named in `skipped`.
std::optional<std::string> newest_checkpoint(const std::string& run, std::string* skipped = nullptr);
/// `run`/checkpoints/step_00000500.
std::string checkpoint_path(const std::string& run, int64_t step);
/// Renames checkpoints of later steps than `step` to "<name>.damaged": a run that goes on from `step` found
/// them unreadable, and they must neither count as its newest nor stand where it will save.
void set_aside_checkpoints_after(const std::string& run, int64_t step);
/// Deletes all but the `keep` newest.
void prune_checkpoints(const std::string& run, int64_t keep);

}  // namespace octavo
