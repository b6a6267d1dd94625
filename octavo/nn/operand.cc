// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/operand.h"

#include <algorithm>
#include <cassert>
#include <span>
#include <utility>

#include "octavo/recipe/quantizer.h"

namespace octavo {

OperandSlot::OperandSlot(std::string tensor, Role role, const RoleSpec& spec, bool across, Scaler& scaler)
    : tensor_(std::move(tensor)),
      role_(role_path(role)),
      spec_(spec),
      across_(across),
      slot_(scaler.add(tensor_ + ":" + role_, spec)) {}

bool OperandSlot::wants_amax() const {
  return spec_.granularity.kind == Granularity::tensor &&
         (spec_.scaling.kind == ScalingKind::current || spec_.scaling.kind == ScalingKind::delayed);
}

uint64_t OperandSlot::quantize(Pass& pass, ConstMatrix x, const float* amax, ScaledTensor& out,
                               float* column_sums, float x_scale) const {
  shape_scales(out);
  if (pass.planning()) return 0;
  const PartTimer timer(pass.times, Part::quantize);
  QuantizeRequest request;
  request.x = x;
  request.x_scale = x_scale;
  request.column_sums = column_sums;
  if (amax) request.amax = *amax;
  request.seed = pass.rounding_seed(slot_);
  request.by_column = across_;
  const bool record = pass.records && carries_scale(spec_.format);
  QuantizeStats stats;
  if (record) request.stats = &stats;
  quantize_tensor(pass.scaler, slot_, request, out, pass.pool);
  if (!record) return request.seed;
  TensorRecord line;
  line.tensor = tensor_;
  line.role = role_;
  line.format = to_string(spec_.format);
  line.amax = static_cast<double>(pass.scaler.last_amax(slot_));
  const int64_t scales = this->scales(x.rows, x.cols);
  if (scales > 1)
    fill_record(line, stats, std::span(out.scales, static_cast<size_t>(scales)));
  else
    fill_record(line, stats, pass.scaler.last_scale(slot_));
  pass.records->push_back(line);
  return request.seed;
}

void OperandSlot::shape_scales(ScaledTensor& out) const {
  out.granularity = spec_.granularity;
  out.by_column = across_ && spec_.granularity.kind == Granularity::row;
}

bool OperandSlot::scale_is_known(const Pass& pass) const {
  return carries_scale(spec_.format) && spec_.granularity.kind == Granularity::tensor &&
         !pass.scaler.needs_amax(slot_) && !pass.scaler.needs_histogram(slot_);
}

CodesOut OperandSlot::begin_codes(Pass& pass, ScaledTensor& out) const {
  out.granularity = spec_.granularity;
  out.scales[0] = pass.scaler.scale_for(slot_);
  return encoding(out, pass.rounding_seed(slot_));
}

void OperandSlot::observe(Pass& pass, float amax) const {
  if (pass.scaler.wants_observation(slot_)) pass.scaler.observe(slot_, amax);
}

CodesOut OperandSlot::encoding(const ScaledTensor& out, uint64_t seed) const {
  return {.codes = out.codes,
          .scale = carries_scale(spec_.format) ? out.scales : nullptr,
          .scale_per_row = spec_.granularity.kind == Granularity::row && !across_,
          .scale_per_column = spec_.granularity.kind == Granularity::row && across_,
          .rounding = spec_.rounding,
          .overflow = spec_.overflow,
          .seed = seed};
}

void OperandSlot::requantize(Pass& pass, ConstMatrix x, float x_scale, ScaledTensor& out) const {
  if (spec_.scaling.kind != ScalingKind::delayed) {
    quantize(pass, x, nullptr, out, nullptr, x_scale);
    return;
  }
  out.granularity = spec_.granularity;
  out.scales[0] = pass.scaler.last_scale(slot_);
  QuantizeArgs args;
  args.x = x;
  args.x_scale = x_scale;
  args.out = encoding(out, pass.rounding_seed(slot_));
  pass.run(Part::quantize, [&](ThreadPool& pool) { octavo::quantize(args, pool); });
}

bool OperandUses::alike() const {
  if (!carries_scale(along.format) && along.format == across.format) return true;
  return along == across && along.granularity.kind == Granularity::tensor;
}

OperandUses input_uses(const LinearSpecs& specs) {
  return {Role::gemm_input, Role::gemm_fprop_input, Role::gemm_wgrad_input, specs.fprop_input,
          specs.wgrad_input};
}

OperandUses weight_uses(const LinearSpecs& specs) {
  return {Role::gemm_weight, Role::gemm_fprop_weight, Role::gemm_dgrad_weight, specs.fprop_weight,
          specs.dgrad_weight};
}

OperandUses grad_output_uses(const LinearSpecs& specs) {
  return {Role::gemm_grad_output, Role::gemm_dgrad_grad_output, Role::gemm_wgrad_grad_output,
          specs.dgrad_grad_output, specs.wgrad_grad_output};
}

// With one payload both slots are the same: asked for twice, the scaler gives it once.
OperandSlots::OperandSlots(const std::string& tensor, const OperandUses& uses, Scaler& scaler,
                           Purpose purpose)
    : along_(tensor, uses.alike() ? uses.role : uses.along_role, uses.along, false, scaler),
      across_(uses.alike() ? along_ : OperandSlot(tensor, uses.across_role, uses.across, true, scaler)),
      two_(!uses.alike() && purpose == Purpose::training) {}

void SavedOperand::reserve_codes(Payload& payload, const OperandSlot& slot, Arena& arena, int64_t rows,
                                 int64_t cols) {
  rows_ = rows;
  cols_ = cols;
  payload.codes_block = arena.reserve("activations", static_cast<size_t>(rows * cols * bytes(slot.format())));
}

void SavedOperand::reserve_scales(Payload& payload, const OperandSlot& slot, Arena& arena, int64_t rows,
                                  int64_t cols) {
  if (!slot.direct(activation_))
    payload.scales_block =
        arena.reserve("activations", static_cast<size_t>(slot.scales(rows, cols)) * sizeof(float));
}

void SavedOperand::plan(Arena& arena, int64_t rows, int64_t cols) {
  reserve_codes(kept_, slots_.across(), arena, rows, cols);
}

void SavedOperand::plan_scales(Arena& arena, int64_t rows, int64_t cols) {
  reserve_scales(kept_, slots_.across(), arena, rows, cols);
}

void SavedOperand::plan_forward(Arena& arena, int64_t rows, int64_t cols) {
  if (!slots_.two()) return;
  reserve_codes(forward_, slots_.along(), arena, rows, cols);
  reserve_scales(forward_, slots_.along(), arena, rows, cols);
}

void SavedOperand::bind(Payload& payload, const OperandSlot& slot, const Arena& arena) {
  payload.storage = dense(arena.at<void>(payload.codes_block), slot.format(), rows_, cols_);
  payload.tensor.scales = payload.scales_block.bytes ? arena.at<float>(payload.scales_block) : nullptr;
}

void SavedOperand::bind(const Arena& arena) {
  bind(kept_, slots_.across(), arena);
  if (slots_.two()) bind(forward_, slots_.along(), arena);
}

SavedOperand::Draft SavedOperand::begin(Pass& pass, int64_t rows, Matrix own) const {
  const auto draft = [&](Matrix data) {
    return Draft{data, slots_.wants_amax() ? pass.new_amax() : nullptr, {}};
  };
  if (direct()) return draft(rows_of(kept_.storage, 0, rows));
  if (own.data) return draft(own);
  if (slots_.along().direct(activation_)) return draft(rows_of(forward_.storage, 0, rows));
  if (!pass.planning() && coded_at_once(pass)) return begin_codes(pass, rows, {});
  return draft(pass.temporary(activation_, rows, cols_));
}

SavedOperand::Draft SavedOperand::begin_both(Pass& pass, int64_t rows, Matrix own) const {
  if (direct() || !coded_at_once(pass)) return begin(pass, rows, own);
  return begin_codes(pass, rows, own);
}

// A step that records statistics, or is looked at, needs the values themselves, and the plan has room for
// them; so do two payloads.
bool SavedOperand::coded_at_once(const Pass& pass) const {
  return !slots_.two() && !pass.records && !pass.probe && slots_.along().scale_is_known(pass);
}

SavedOperand::Draft SavedOperand::begin_codes(Pass& pass, int64_t rows, Matrix data) const {
  float* const amax = pass.new_amax();
  if (pass.planning()) return {data, amax, {}};
  ScaledTensor out = kept_.tensor;
  out.codes = rows_of(kept_.storage, 0, rows);
  return {data, amax, slots_.along().begin_codes(pass, out)};
}

void SavedOperand::fill(Pass& pass, Payload& payload, const OperandSlot& slot, const Draft& draft) {
  payload.tensor.granularity = slot.spec().granularity;
  if (slot.direct(activation_)) {
    payload.tensor.codes = draft.data;
    return;
  }
  const bool coded = draft.codes.codes.data != nullptr;
  payload.tensor.codes = rows_of(payload.storage, 0, coded ? draft.codes.codes.rows : draft.data.rows);
  if (!coded) {
    payload.seed = slot.quantize(pass, draft.data, draft.amax, payload.tensor);
    return;
  }
  payload.seed = draft.codes.seed;
  slot.observe(pass, *draft.amax);
}

void SavedOperand::finish(Pass& pass, const Draft& draft) {
  if (slots_.two()) fill(pass, forward_, slots_.along(), draft);
  fill(pass, kept_, slots_.across(), draft);
}

CodesOut SavedOperand::again(int64_t rows) const {
  ScaledTensor out = kept_.tensor;
  out.codes = rows_of(kept_.storage, 0, rows);
  return slots_.across().encoding(out, kept_.seed);
}

Weight::Weight(Parameter& parameter, OperandSlots slots) : parameter(&parameter), slots_(std::move(slots)) {
  if (reads_master(slots_.along()) || reads_master(slots_.across())) parameter.computes_with_master = true;
}

void Weight::reserve(Arena& arena, bool shard, int64_t elements) {
  for_each_copy(shard, [&](const OperandSlot& slot, Copy& copy) {
    copy = {};
    if (reads_master(slot) || elements == 0) return;
    copy.codes_block = arena.reserve("compute weights", static_cast<size_t>(elements * bytes(slot.format())));
    copy.scales_block =
        arena.reserve("compute weights",
                      static_cast<size_t>(slot.scales(parameter->rows, parameter->cols)) * sizeof(float));
  });
}

void Weight::plan(Arena& arena) {
  sharded_ = false;
  reserve(arena, false, parameter->size());
}

void Weight::plan_shared(Arena& arena) { reserve(arena, false, parameter->size()); }

void Weight::plan_shard(Arena& arena) {
  sharded_ = true;
  reserve(arena, true, parameter->owned.count);
}

/// A product that reads the weight, as far as packing it goes.
GemmArgs Weight::product(bool forward) const {
  GemmArgs args;
  args.n = forward ? parameter->rows : parameter->cols;
  args.k = forward ? parameter->cols : parameter->rows;
  args.a.format = (forward ? packed_forward_ : packed_backward_).other;
  args.b.format = (forward ? slots_.along() : slots_.across()).format();
  args.b.data = (forward ? get().along : get().across).codes.data;
  args.b.stride = parameter->cols;
  args.b.k_contiguous = forward;
  return args;
}

void Weight::plan_packed(Arena& arena, Format input, Format grad, bool training) {
  packed_forward_.other = input;
  packed_backward_.other = grad;
  packed_forward_.block = arena.reserve("packed weights", gemm_packed_bytes(product(true)));
  if (training) packed_backward_.block = arena.reserve("packed weights", gemm_packed_bytes(product(false)));
}

void Weight::pack(Pass& pass) const {
  for (const bool forward : {true, false}) {
    void* const out = (forward ? packed_forward_ : packed_backward_).data;
    if (out) pass.run(Part::gemm, [&](ThreadPool& pool) { gemm_pack_b(product(forward), out, pool); });
  }
}

void Weight::bind(const Arena& arena) {
  for (Packed* packed : {&packed_forward_, &packed_backward_})
    packed->data = packed->block.bytes ? arena.at<void>(packed->block) : nullptr;
  for_each_copy([&](const OperandSlot& slot, Copy& copy) {
    if (reads_master(slot)) {
      copy.tensor.codes = dense(parameter->value, Format::fp32, parameter->rows, parameter->cols);
      return;
    }
    copy.tensor.codes =
        dense(arena.at<void>(copy.codes_block), slot.format(), parameter->rows, parameter->cols);
    copy.tensor.scales = arena.at<float>(copy.scales_block);
    slot.shape_scales(copy.tensor);  // codes may come from elsewhere
  });
  if (!sharded_) return;
  const Elements& own = parameter->owned;
  const bool whole = own.count == parameter->size();
  for_each_copy(true, [&](const OperandSlot& slot, Copy& copy) {
    copy.tensor.codes = dense(arena.at<void>(copy.codes_block), slot.format(), whole ? parameter->rows : 1,
                              whole ? parameter->cols : own.count);
    copy.tensor.scales = arena.at<float>(copy.scales_block);
  });
}

void Weight::refresh(Pass& pass) {
  if (std::exchange(fresh_, false)) return pack(pass);
  const Stored& master = parameter->master.at;
  refresh_from(pass, dense(master.data, master.format, parameter->rows, parameter->cols), master.scale,
               parameter->amax >= 0 ? &parameter->amax : nullptr);
}

CopyOut Weight::copy_of_update(const Pass& pass) {
  const RoleSpec& spec = slots_.along().spec();
  const bool simple = !slots_.two() && spec.granularity.kind == Granularity::tensor &&
                      carries_scale(spec.format) && spec.scaling.kind == ScalingKind::current &&
                      spec.scaling.pow2 && spec.rounding == Rounding::nearest_even &&
                      spec.overflow == Overflow::saturate;
  if (!simple || pass.records) return {};  // what is recorded is counted in a pass of its own
  Copy& copy = sharded_ ? own_along_ : along_;
  return {.codes = copy.tensor.codes.data,
          .format = spec.format,
          .scale = pass.scaler.last_scale(slots_.along().slot()),
          .margin = spec.scaling.margin};
}

void Weight::took_copy(Pass& pass, float scale, float amax) {
  const Scaler::Slot slot = slots_.along().slot();
  (sharded_ ? own_along_ : along_).tensor.scales[0] = scale;
  pass.scaler.note_scale(slot, scale);
  pass.scaler.note_amax(slot, amax);
  fresh_ = true;
}

bool Weight::casts_parts() const {
  const auto alone = [](const OperandSlot& slot) {
    const ScalingKind kind = slot.spec().scaling.kind;
    const bool fixed =
        kind == ScalingKind::none || kind == ScalingKind::static_ || kind == ScalingKind::constant;
    return slot.spec().granularity.kind == Granularity::tensor &&
           slot.spec().rounding != Rounding::stochastic && (fixed || !carries_scale(slot.format()));
  };
  return alone(slots_.along()) && alone(slots_.across());
}

void Weight::refresh_part(Pass& pass) {
  const StateTensor& master = parameter->master;
  if (master.part.count == 0) return;
  if (parameter->has_whole_master()) return refresh(pass);
  assert(casts_parts());
  const int64_t skip = sharded_ ? 0 : master.part.first;
  for_each_copy(sharded_, [&](const OperandSlot& slot, Copy& copy) {
    ScaledTensor part = copy.tensor;
    part.codes = dense(static_cast<std::byte*>(copy.tensor.codes.data) + skip * octavo::bytes(slot.format()),
                       slot.format(), 1, master.part.count);
    slot.quantize(pass, dense(master.at.data, master.at.format, 1, master.part.count), nullptr, part, nullptr,
                  master.at.scale);
  });
}

std::vector<Scaler::Slot> Weight::scale_slots() const {
  if (slots_.two()) return {slots_.along().slot(), slots_.across().slot()};
  return {slots_.along().slot()};
}

void Weight::requantize(Pass& pass) {
  const Stored& master = parameter->master.at;
  for_each_copy(sharded_, [&](const OperandSlot& slot, Copy& copy) {
    if (!reads_master(slot))
      slot.requantize(pass, dense(master.data, master.format, parameter->rows, parameter->cols), master.scale,
                      copy.tensor);
  });
  pack(pass);
}

void Weight::refresh_from(Pass& pass, ConstMatrix values, float scale, const float* amax) {
  if (sharded_ && parameter->owned.count != parameter->size()) return;  // it comes from its owners
  for_each_copy(sharded_, [&](const OperandSlot& slot, Copy& copy) {
    if (!reads_master(slot)) slot.quantize(pass, values, amax, copy.tensor, nullptr, scale);
  });
  pack(pass);
}

GemmOperand gemm_operand(const ScaledTensor& tensor, bool k_contiguous) {
  GemmOperand operand;
  operand.data = tensor.codes.data;
  operand.format = tensor.codes.format;
  operand.stride = tensor.codes.stride;
  operand.k_contiguous = k_contiguous;
  operand.scale = carries_scale(tensor.codes.format) ? tensor.scales : nullptr;
  operand.scale_per_row = operand.scale && tensor.granularity.kind == Granularity::row;
  assert(!operand.scale_per_row || tensor.by_column != k_contiguous);
  return operand;
}

}  // namespace octavo
