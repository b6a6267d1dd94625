// SPDX-License-Identifier: Apache-2.0
#include "octavo/recipe/quantizer.h"

#include <span>

#include "octavo/base/error.h"

namespace octavo {

void quantize_tensor(Scaler& scaler, Scaler::Slot slot, const QuantizeRequest& request, ScaledTensor& out,
                     ThreadPool& pool) {
  const RoleSpec& spec = scaler.spec(slot);
  const bool rows = spec.granularity.kind == Granularity::row;
  if (!rows && spec.granularity.kind != Granularity::tensor)
    fail_unsupported("'" + scaler.name(slot) + "' asks for scales per " + to_string(spec.granularity) +
                     ", which are not implemented yet");
  out.granularity = spec.granularity;
  out.by_column = rows && request.by_column;

  QuantizeArgs args;
  args.x = request.x;
  args.out.codes = out.codes;
  args.out.rounding = spec.rounding;
  args.out.overflow = spec.overflow;
  args.out.seed = request.seed;
  args.stats = request.stats;
  args.column_sums = request.column_sums;
  if (!carries_scale(spec.format)) {
    quantize(args, pool);
    return;
  }
  args.out.scale = out.scales;
  args.out.scale_per_row = rows && !out.by_column;
  args.out.scale_per_column = out.by_column;

  if (rows) {
    (out.by_column ? column_amax : row_amax)(request.x, out.scales, pool, 1.0f);
    const int64_t count = out.by_column ? request.x.cols : request.x.rows;
    scaler.row_scales(slot, std::span(out.scales, static_cast<size_t>(count)));
    quantize(args, pool);
    return;
  }
  if (scaler.needs_histogram(slot)) {
    out.scales[0] = scaler.scale_for(slot, magnitude_histogram(request.x, pool));
    quantize(args, pool);
    return;
  }
  std::optional<float> seen = request.amax;
  if (scaler.needs_amax(slot) && !seen) seen = amax(request.x, pool);
  out.scales[0] = scaler.scale_for(slot, seen.value_or(0.0f));
  float measured = 0;
  if ((scaler.wants_observation(slot) || request.stats) && !seen) args.amax = &measured;
  quantize(args, pool);
  if (request.stats) scaler.note_amax(slot, seen.value_or(measured));
  if (scaler.wants_observation(slot)) scaler.observe(slot, seen.value_or(measured));
}

}  // namespace octavo
