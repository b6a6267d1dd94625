// SPDX-License-Identifier: Apache-2.0
// Everything a run needs to go on as if it had never stopped, in one directory that appears complete or not
// at all.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
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

/// Brings state together that lies on several ranks, of which one reads and writes files. All ranks make the
/// same calls. This one is for a single process, where everything is at hand.
class StateAccess {
 public:
  virtual ~StateAccess() = default;
  /// Whether this rank has the files.
  virtual bool has_files() const { return true; }
  /// The scaler of the rank with the files gets to know the scales of all tensors.
  virtual void collect_scales() {}
  /// All of a state tensor of `p`, valid until the next call; elements matter on the rank with the files
  /// only.
  virtual Stored whole(const Parameter& p, const StateTensor& tensor) { return tensor.at; }
  /// `data` of the rank with the files becomes that of all.
  virtual void share(std::span<std::byte> data) {}
};

/// Files: model.safetensors + config.json (Hugging Face, F32 values of the masters) and the tokenizer, so a
/// checkpoint is itself a model; optimizer.safetensors (moment1.*, moment2.* as they are stored; scaler.*,
/// among them the scales of all stored tensors), state.json, and MANIFEST.json with checksums, written last.
/// The directory is built beside its final place and renamed; on any error what was there before is
/// untouched.
void save_checkpoint(const std::string& directory, Transformer& model, const TrainState& state,
                     const std::string& tokenizer, StateAccess& access);
void save_checkpoint(const std::string& directory, Transformer& model, const TrainState& state,
                     const std::string& tokenizer);

/// Verifies the manifest, then fills masters, moments and scaler state. Throws bad_data naming the damaged or
/// missing piece.
TrainState load_checkpoint(const std::string& directory, Transformer& model, StateAccess& access);
TrainState load_checkpoint(const std::string& directory, Transformer& model);

/// Fills the masters of a model from a Hugging Face directory.
void load_initial(const std::string& directory, Transformer& model, StateAccess& access);

/// The model alone, as save_checkpoint writes it, without optimizer state: `final/`.
void save_final(const std::string& directory, Transformer& model, const std::string& tokenizer,
                StateAccess& access);

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
