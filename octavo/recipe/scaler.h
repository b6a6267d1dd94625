// SPDX-License-Identifier: Apache-2.0
// Decides scales. One slot for each tensor that is quantized; a slot remembers what its rule needs, and that
// memory goes into checkpoints. Replicas of a model that see different data start each step with the same
// memory: each keeps a journal of what it observed, and the joined journals make the next step's memory.
// Arithmetic only: amaxes come in, scales go out. Not thread-safe; called between kernels.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "octavo/kernels/histogram.h"
#include "octavo/recipe/spec.h"

namespace octavo {

/// The scale an amax asks for by current scaling: 2^-(floor(log2(Fmax / amax)) - margin), or amax / Fmax *
/// 2^margin (arXiv:2309.17224; the floor makes overflow impossible). Both are kept within 2^-126 .. 2^126,
/// where the scale and its inverse are normal FP32 numbers. Nothing for an amax that is zero or not finite.
std::optional<float> scale_from_amax(const RoleSpec& spec, float amax);

/// The scale of rules that look at no data: 2^-exponent by constant scaling, else 1.
float fixed_scale(const RoleSpec& spec);

/// A piece of a checkpoint.
struct NamedState {
  std::string name;
  std::vector<float> values;
};

class Scaler {
 public:
  using Slot = int32_t;

  /// Registers a tensor, for example "blocks.3.attn.qkv:input". The same name with the same spec gives the
  /// same slot; with another spec it is a usage error. mse and auto for
  /// less than a tensor are an unsupported error.
  Slot add(const std::string& name, const RoleSpec& spec);

  const RoleSpec& spec(Slot slot) const { return slots_[static_cast<size_t>(slot)].spec; }
  const std::string& name(Slot slot) const { return slots_[static_cast<size_t>(slot)].name; }
  int size() const { return static_cast<int>(slots_.size()); }

  /// Whether scale_for() looks at the amax of the data that is about to be quantized: current and auto
  /// scaling, and delayed scaling until the first amax was observed.
  bool needs_amax(Slot slot) const;
  /// Whether the scale is chosen from a histogram of that data instead (mse).
  bool needs_histogram(Slot slot) const { return spec(slot).scaling.kind == ScalingKind::mse; }
  /// Whether observe() must be told the amax afterwards (delayed scaling).
  bool wants_observation(Slot slot) const { return spec(slot).scaling.kind == ScalingKind::delayed; }

  /// The scale to quantize with now (value = code * scale). `amax` is read only when needs_amax(). When it is
  /// zero or not finite the slot's last scale stays (1 if there was none), and the latter is counted.
  float scale_for(Slot slot, float amax = 0);
  /// The same when needs_histogram(), by its amax.
  float scale_for(Slot slot, const MagnitudeHistogram& histogram);
  /// amaxes of rows -> their scales, in place. A row without a usable amax gets 1; non-finite ones are
  /// counted.
  void row_scales(Slot slot, std::span<float> amaxes);
  /// Delayed: enters the amax of the data just quantized. Zero is entered; a non-finite one is counted
  /// instead.
  void observe(Slot slot, float amax);

  /// auto: the factor on the codes; 1 at the start. The scale is that of `current` divided by it: 1/2 leaves
  /// a power of two of headroom, 2 lets the largest values saturate.
  float mu(Slot slot) const { return memory(slot).mu; }
  /// auto, once a step: `saturated` is the share of codes that ended at the format's largest number. Above
  /// the threshold mu drops at once (reading factor: to half of itself; absolute: to 1/2), else it grows
  /// exponentially (factor: doubling in growth_steps; absolute: from 1/2 to 2 in growth_steps, and no
  /// further). arXiv:2310.18313, section 2.1, which can be read either way. Kept within 2^-60 .. 2^20.
  void adapt(Slot slot, double saturated);

  /// What was used and seen last, for the log; 1 and 0 before the first use.
  float last_scale(Slot slot) const;
  float last_amax(Slot slot) const { return slots_[static_cast<size_t>(slot)].last_amax; }
  /// For a scale that was chosen elsewhere, by another rank, and came with its codes.
  void note_scale(Slot slot, float scale) { memory(slot).last_scale = scale; }
  /// Enters an amax for the log alone.
  void note_amax(Slot slot, float amax) { entry(slot).last_amax = amax; }
  /// Non-finite amaxes since construction or clear_nonfinite(): the trainer stops or skips the step.
  int64_t nonfinite(Slot slot) const { return slots_[static_cast<size_t>(slot)].nonfinite; }
  int64_t nonfinite() const;
  void clear_nonfinite();

  /// What decides later scales, of all slots.
  struct Memory {
    float last_scale = 0;  ///< 0: none yet
    float mu = 1;
    std::vector<float> ring;  ///< delayed: `window` entries
    int32_t filled = 0, next = 0;
  };
  std::vector<Memory> snapshot() const { return memories_; }
  void restore(const std::vector<Memory>& snapshot) { memories_ = snapshot; }
  /// What observe() was told, in order, from keep_journal() on. Replicas that ran the same passes have
  /// journals of the same slots, which are joined by taking the larger amax of each entry.
  struct Observation {
    Slot slot = 0;
    float amax = 0;
  };
  void keep_journal() { journaling_ = true; }
  std::vector<Observation> take_journal() { return std::exchange(journal_, {}); }
  /// Enters a journal again.
  void replay(std::span<const Observation> journal);

  /// Everything that decides later scales, one entry for each slot that has a memory: {last scale or 0, then
  /// history from the oldest to the newest, or mu}.
  std::vector<NamedState> state() const;
  /// Takes a state() back, bit for bit. A missing, unknown or ill-formed entry is a data error that names it.
  void restore(const std::vector<NamedState>& state);

 private:
  struct Entry {
    std::string name;
    RoleSpec spec;
    float last_amax = 0;
    int64_t nonfinite = 0;
  };
  Entry& entry(Slot slot) { return slots_[static_cast<size_t>(slot)]; }
  Memory& memory(Slot slot) { return memories_[static_cast<size_t>(slot)]; }
  const Memory& memory(Slot slot) const { return memories_[static_cast<size_t>(slot)]; }
  static bool has_memory(const Entry& e);
  float delayed_amax(Slot slot) const;
  static void enter(Memory& m, float amax);

  std::vector<Entry> slots_;
  std::vector<Memory> memories_;
  std::vector<Observation> journal_;
  bool journaling_ = false;
  std::map<std::string, Slot> by_name_;
};

}  // namespace octavo
