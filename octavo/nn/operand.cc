// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/operand.h"

#include "octavo/recipe/quantizer.h"

namespace octavo {

OperandSlot::OperandSlot(std::string tensor, std::string role, const RoleSpec& spec, Scaler& scaler)
    : tensor_(std::move(tensor)),
      role_(std::move(role)),
      spec_(spec),
      slot_(scaler.add(tensor_ + ":" + role_, spec)) {}

bool OperandSlot::wants_amax() const {
  return spec_.granularity.kind == Granularity::tensor &&
         (spec_.scaling.kind == ScalingKind::current || spec_.scaling.kind == ScalingKind::delayed);
}

uint64_t OperandSlot::quantize(Pass& pass, ConstMatrix x, const float* amax, ScaledTensor& out,
                               float* column_sums) const {
  out.granularity = spec_.granularity;
  if (pass.planning()) return 0;
  const PartTimer timer(pass.times, Part::quantize);
  QuantizeRequest request;
  request.x = x;
  request.column_sums = column_sums;
  if (amax) request.amax = *amax;
  request.seed = pass.rounding_seed(slot_);
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
  fill_record(line, stats, pass.scaler.last_scale(slot_));
  pass.records->push_back(line);
  return request.seed;
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
          .scale_per_row = spec_.granularity.kind == Granularity::row,
          .rounding = spec_.rounding,
          .overflow = spec_.overflow,
          .seed = seed};
}

void OperandSlot::requantize(Pass& pass, ConstMatrix x, ScaledTensor& out) const {
  if (spec_.scaling.kind != ScalingKind::delayed) {
    quantize(pass, x, nullptr, out);
    return;
  }
  out.granularity = spec_.granularity;
  out.scales[0] = pass.scaler.last_scale(slot_);
  QuantizeArgs args;
  args.x = x;
  args.out = encoding(out, pass.rounding_seed(slot_));
  pass.run(Part::quantize, [&](ThreadPool& pool) { octavo::quantize(args, pool); });
}

void SavedOperand::plan(Arena& arena, int64_t rows, int64_t cols) {
  rows_ = rows;
  cols_ = cols;
  codes_block_ = arena.reserve("activations", static_cast<size_t>(rows * cols * bytes(slot_.format())));
}

void SavedOperand::plan_scales(Arena& arena, int64_t rows, int64_t cols) {
  if (!direct())
    scales_block_ =
        arena.reserve("activations", static_cast<size_t>(slot_.scales(rows, cols)) * sizeof(float));
}

void SavedOperand::bind(const Arena& arena) {
  storage_ = dense(arena.at<void>(codes_block_), slot_.format(), rows_, cols_);
  tensor_.scales = scales_block_.bytes ? arena.at<float>(scales_block_) : nullptr;
}

SavedOperand::Draft SavedOperand::begin(Pass& pass, int64_t rows, Matrix own) const {
  if (direct()) return {rows_of(storage_, 0, rows), nullptr, {}};
  // A step that records statistics needs the values themselves, and the plan has room for them.
  if (!own.data && !pass.planning() && !pass.records && slot_.scale_is_known(pass)) {
    ScaledTensor out = tensor_;
    out.codes = rows_of(storage_, 0, rows);
    return {{}, pass.new_amax(), slot_.begin_codes(pass, out)};
  }
  return {own.data ? own : pass.temporary(activation_, rows, cols_),
          slot_.wants_amax() ? pass.new_amax() : nullptr,
          {}};
}

void SavedOperand::finish(Pass& pass, const Draft& draft) {
  const bool coded = draft.codes.codes.data != nullptr;
  tensor_.codes = rows_of(storage_, 0, coded ? draft.codes.codes.rows : draft.data.rows);
  tensor_.granularity = slot_.spec().granularity;
  if (direct()) return;
  if (!coded) {
    seed_ = slot_.quantize(pass, draft.data, draft.amax, tensor_);
    return;
  }
  seed_ = draft.codes.seed;
  slot_.observe(pass, *draft.amax);
}

CodesOut SavedOperand::again(int64_t rows) const {
  ScaledTensor out = tensor_;
  out.codes = rows_of(storage_, 0, rows);
  return slot_.encoding(out, seed_);
}

void Weight::plan(Arena& arena) {
  if (reads_master()) return;
  const int64_t rows = parameter->rows, cols = parameter->cols;
  codes_block_ = arena.reserve("compute weights", static_cast<size_t>(rows * cols * bytes(slot_.format())));
  scales_block_ =
      arena.reserve("compute weights", static_cast<size_t>(slot_.scales(rows, cols)) * sizeof(float));
}

/// A product that reads the weight, as far as packing it goes.
GemmArgs Weight::product(bool forward) const {
  GemmArgs args;
  args.n = forward ? parameter->rows : parameter->cols;
  args.k = forward ? parameter->cols : parameter->rows;
  args.a.format = input_;
  args.b.format = reads_master() ? Format::fp32 : slot_.format();
  args.b.data = tensor_.codes.data;
  args.b.stride = parameter->cols;
  args.b.k_contiguous = forward;
  return args;
}

void Weight::plan_packed(Arena& arena, Format input, bool training) {
  input_ = input;
  forward_block_ = arena.reserve("packed weights", gemm_packed_bytes(product(true)));
  if (training) backward_block_ = arena.reserve("packed weights", gemm_packed_bytes(product(false)));
}

void Weight::pack(Pass& pass) const {
  for (const bool forward : {true, false}) {
    void* const out = forward ? packed_forward_ : packed_backward_;
    if (out) pass.run(Part::gemm, [&](ThreadPool& pool) { gemm_pack_b(product(forward), out, pool); });
  }
}

void Weight::bind(const Arena& arena) {
  packed_forward_ = forward_block_.bytes ? arena.at<void>(forward_block_) : nullptr;
  packed_backward_ = backward_block_.bytes ? arena.at<void>(backward_block_) : nullptr;
  if (reads_master()) {
    tensor_.codes = dense(parameter->value, Format::fp32, parameter->rows, parameter->cols);
    return;
  }
  tensor_.codes = dense(arena.at<void>(codes_block_), slot_.format(), parameter->rows, parameter->cols);
  tensor_.scales = arena.at<float>(scales_block_);
}

void Weight::refresh(Pass& pass) {
  refresh_from(pass, parameter->value, parameter->amax >= 0 ? &parameter->amax : nullptr);
}

void Weight::requantize(Pass& pass) {
  if (!reads_master())
    slot_.requantize(pass, dense(parameter->value, Format::fp32, parameter->rows, parameter->cols), tensor_);
  pack(pass);
}

void Weight::refresh_from(Pass& pass, const float* values, const float* amax) {
  if (!reads_master())
    slot_.quantize(pass, dense(values, Format::fp32, parameter->rows, parameter->cols), amax, tensor_);
  pack(pass);
}

GemmOperand gemm_operand(const ScaledTensor& tensor, bool k_contiguous) {
  GemmOperand operand;
  operand.data = tensor.codes.data;
  operand.format = tensor.codes.format;
  operand.stride = tensor.codes.stride;
  operand.k_contiguous = k_contiguous;
  operand.scale = carries_scale(tensor.codes.format) ? tensor.scales : nullptr;
  operand.scale_per_row = tensor.granularity.kind == Granularity::row;
  return operand;
}

}  // namespace octavo
