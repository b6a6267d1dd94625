// SPDX-License-Identifier: Apache-2.0
// What a recipe does to the operands of a GEMM: an activation kept for the backward pass, a weight and its
// compute copy, a gradient used twice and dropped.
//
// Two products read each tensor. One sums along its rows: fprop for X [tokens, in] and W [out, in], dgrad for
// dY [tokens, out]. The other sums across them, over rows: wgrad for X and dY, dgrad for W. One payload
// serves both where the recipe says the same of both and a scale is shared by the whole tensor; else each has
// its own.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "octavo/kernels/optimizer_state.h"
#include "octavo/nn/parameter.h"
#include "octavo/nn/pass.h"
#include "octavo/recipe/recipe.h"
#include "octavo/tensor/scaled_tensor.h"

namespace octavo {

/// How one tensor of one layer becomes codes for one product, or for both. Holds no data.
class OperandSlot {
 public:
  /// `tensor` and `role` name it in records and checkpoints ("h.3.mlp.c_fc", "gemm.input"). `across`: the
  /// product sums over rows, so that scales finer than the tensor run over columns.
  OperandSlot(std::string tensor, Role role, const RoleSpec& spec, bool across, Scaler& scaler);

  Format format() const { return spec_.format; }
  /// True when data of this format needs no conversion.
  bool direct(Format data) const { return data == spec_.format; }
  /// Codes and scales of x into `out`. `amax`: max |x| where the producer already knows it, else nullptr.
  /// `column_sums`: [cols], the sums of the columns of x are added to it in the same pass, or nullptr.
  /// Returns the seed that stochastic rounding used.
  /// `x_scale`: value = element * x_scale, where x is what is stored of a weight.
  uint64_t quantize(Pass& pass, ConstMatrix x, const float* amax, ScaledTensor& out,
                    float* column_sums = nullptr, float x_scale = 1) const;
  /// Whether the scale does not depend on the data about to be quantized, so that its producer can write
  /// codes.
  bool scale_is_known(const Pass& pass) const;
  /// Chooses that scale and tells the producer how to encode; observe() afterwards, with max |x|.
  CodesOut begin_codes(Pass& pass, ScaledTensor& out) const;
  void observe(Pass& pass, float amax) const;
  /// The rule for codes whose scale is chosen.
  CodesOut encoding(const ScaledTensor& out, uint64_t seed) const;
  /// The same codes again from the same x, after the scaler's state was restored: a scale that depends on
  /// history is the last one, not chosen anew.
  void requantize(Pass& pass, ConstMatrix x, float x_scale, ScaledTensor& out) const;
  int64_t scales(int64_t rows, int64_t cols) const {
    return across_ ? scale_count(spec_.granularity, cols, rows) : scale_count(spec_.granularity, rows, cols);
  }
  /// Which way the scales of a payload run.
  void shape_scales(ScaledTensor& out) const;
  bool wants_amax() const;
  const RoleSpec& spec() const { return spec_; }
  Scaler::Slot slot() const { return slot_; }

 private:
  std::string tensor_, role_;
  RoleSpec spec_;
  bool across_;
  int slot_;
};

/// What a recipe says about a tensor: as a whole, and in either use.
struct OperandUses {
  Role role, along_role, across_role;
  RoleSpec along, across;

  /// Whether one payload serves both uses.
  bool alike() const;
};
OperandUses input_uses(const LinearSpecs& specs);
OperandUses weight_uses(const LinearSpecs& specs);
OperandUses grad_output_uses(const LinearSpecs& specs);

/// The slots of a tensor: one for both uses, or one for each.
class OperandSlots {
 public:
  /// A model for inference makes nothing that only the backward pass reads.
  OperandSlots(const std::string& tensor, const OperandUses& uses, Scaler& scaler, Purpose purpose);
  const OperandSlot& along() const { return along_; }
  const OperandSlot& across() const { return two_ ? across_ : along_; }
  /// Whether there are two payloads.
  bool two() const { return two_; }
  bool wants_amax() const { return along_.wants_amax() || across().wants_amax(); }

 private:
  OperandSlot along_, across_;
  bool two_;
};

/// Views of a tensor's payloads; the same one twice where it serves both uses.
struct Operand {
  ScaledTensor along, across;
};

/// The input of one or more linear layers: produced in the activation format, kept as the recipe's codes.
class SavedOperand {
 public:
  SavedOperand(OperandSlots slots, Format activation) : slots_(std::move(slots)), activation_(activation) {}
  /// What the backward pass reads: the codes; and the scales, which stay when the codes are made again.
  void plan(Arena& arena, int64_t rows, int64_t cols);
  void plan_scales(Arena& arena, int64_t rows, int64_t cols);
  /// What the forward pass reads, where that is a payload of its own: it serves until the next products are
  /// done.
  void plan_forward(Arena& arena, int64_t rows, int64_t cols);
  void bind(const Arena& arena);

  /// Where the producer writes: the saved memory itself when nothing is converted, else `own` or a temporary
  /// of the pass.
  struct Draft {
    Matrix data;            ///< data == nullptr: the producer writes nothing but `codes`
    float* amax = nullptr;  ///< wanted from the producer, or nullptr
    CodesOut codes{};       ///< wanted from the producer, or none
  };
  Draft begin(Pass& pass, int64_t rows, Matrix own = {}) const;
  /// For a producer that can write values and codes in one pass, and whose values are wanted in any case: in
  /// `own`, or in the saved memory when nothing is converted.
  Draft begin_both(Pass& pass, int64_t rows, Matrix own) const;
  /// Converts the draft. Call within the WorkspaceScope of begin().
  void finish(Pass& pass, const Draft& draft);
  /// For a producer that can make the codes again in its backward pass, to the same bits.
  CodesOut again(int64_t rows) const;
  Operand get() const { return {slots_.two() ? forward_.tensor : kept_.tensor, kept_.tensor}; }
  /// True when what is kept for the backward pass are the values as they were produced.
  bool direct() const { return slots_.across().direct(activation_); }

 private:
  struct Payload {
    Arena::Block codes_block, scales_block;
    Matrix storage;
    ScaledTensor tensor;
    uint64_t seed = 0;
  };
  void reserve_codes(Payload& payload, const OperandSlot& slot, Arena& arena, int64_t rows, int64_t cols);
  void reserve_scales(Payload& payload, const OperandSlot& slot, Arena& arena, int64_t rows, int64_t cols);
  void bind(Payload& payload, const OperandSlot& slot, const Arena& arena);
  /// Whether the producer may write the kept codes itself now.
  bool coded_at_once(const Pass& pass) const;
  Draft begin_codes(Pass& pass, int64_t rows, Matrix data) const;
  void fill(Pass& pass, Payload& payload, const OperandSlot& slot, const Draft& draft);

  OperandSlots slots_;
  Format activation_;
  int64_t rows_ = 0, cols_ = 0;
  Payload kept_, forward_;  ///< forward_ is empty where one payload serves both uses
};

/// A matrix parameter and its compute copy.
class Weight {
 public:
  Weight(Parameter& parameter, OperandSlots slots);
  void plan(Arena& arena);
  /// Compute copies in memory that other weights use in turn; refresh() then makes only what is owned here,
  /// which lies apart and is an outgoing payload.
  void plan_shared(Arena& arena);
  void plan_shard(Arena& arena);
  /// Room for the weight packed for the GEMMs that read it, made with each refresh: forward, and backward if
  /// `training`. `input` and `grad`: the formats of the other operands of the two.
  void plan_packed(Arena& arena, Format input, Format grad, bool training);
  void bind(const Arena& arena);
  /// Makes the compute copy of the master. Once per optimizer step.
  void refresh(Pass& pass);
  /// The same of the part of the master that is here. Of less than all of it where the rule needs no more
  /// than a part.
  void refresh_part(Pass& pass);
  /// For an update that makes the compute copy in its own pass, where the rule allows it: one payload with a
  /// power-of-two scale from its amax. Without codes where it does not. took_copy() afterwards; the next
  /// refresh() then finds it made.
  CopyOut copy_of_update(const Pass& pass);
  void took_copy(Pass& pass, float scale, float amax);
  /// Whether parts can be cast by themselves: no scale depends on the whole tensor.
  bool casts_parts() const;
  /// fn(codes, scales) for each compute copy that is not the master itself; scales may be empty. `part` of
  /// what products read, or (`made_here`) of what refresh() makes.
  template <class Fn>
  void for_each_payload(Elements part, bool made_here, Fn fn) {
    const int64_t begin = made_here && sharded_ ? parameter->owned.first : 0;
    for_each_copy(made_here && sharded_, [&](const OperandSlot& slot, Copy& copy) {
      if (reads_master(slot)) return;
      const int64_t wide = octavo::bytes(slot.format());
      fn(std::span(static_cast<std::byte*>(copy.tensor.codes.data) + (part.first - begin) * wide,
                   static_cast<size_t>(part.count * wide)),
         std::span(copy.tensor.scales, carries_scale(slot.format()) ? static_cast<size_t>(slot.scales(
                                                                          parameter->rows, parameter->cols))
                                                                    : 0));
    });
  }
  /// After payloads came from elsewhere.
  void repack(Pass& pass) const { pack(pass); }
  /// Of the scales of its compute copies.
  std::vector<Scaler::Slot> scale_slots() const;
  /// The compute copy as it was when the master and the scaler's state were saved.
  void requantize(Pass& pass);
  /// As refresh(), from values (element * scale) that are not kept: a checkpoint being read.
  void refresh_from(Pass& pass, ConstMatrix values, float scale, const float* amax);
  /// What the forward pass reads.
  Format format() const { return slots_.along().format(); }
  /// True when that is the FP32 master itself.
  bool reads_master() const { return reads_master(slots_.along()); }
  Operand get() const { return {along_.tensor, slots_.two() ? across_.tensor : along_.tensor}; }
  /// For y = x W^T (`forward`) or dx = dy W, or nullptr.
  const void* packed(bool forward) const { return (forward ? packed_forward_ : packed_backward_).data; }

  Parameter* parameter;

 private:
  struct Copy {
    Arena::Block codes_block, scales_block;
    ScaledTensor tensor;
  };
  struct Packed {
    Arena::Block block;
    Format other = Format::fp32;  ///< the other operand
    void* data = nullptr;
  };
  /// fn(slot, copy) for each compute copy.
  template <class Fn>
  void for_each_copy(Fn fn) {
    for_each_copy(false, fn);
  }
  template <class Fn>
  void for_each_copy(bool shard, Fn fn) {
    fn(slots_.along(), shard ? own_along_ : along_);
    if (slots_.two()) fn(slots_.across(), shard ? own_across_ : across_);
  }
  void reserve(Arena& arena, bool shard, int64_t elements);
  bool reads_master(const OperandSlot& slot) const {
    return slot.direct(Format::fp32) && parameter->master.is_fp32();
  }
  GemmArgs product(bool forward) const;
  void pack(Pass& pass) const;

  OperandSlots slots_;
  Copy along_, across_, own_along_, own_across_;
  bool sharded_ = false;
  bool fresh_ = false;  ///< the update made the compute copy
  Packed packed_forward_, packed_backward_;
};

/// A view of a scaled tensor as a GEMM operand.
GemmOperand gemm_operand(const ScaledTensor& tensor, bool k_contiguous);

}  // namespace octavo
