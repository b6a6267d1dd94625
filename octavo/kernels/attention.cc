// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/attention.h"

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <string>

#include "octavo/base/cpu.h"
#include "octavo/base/error.h"
#include "octavo/kernels/attention_variants.h"
#include "octavo/numerics/float_bits.h"

namespace octavo {
namespace {

/// Best first.
struct Entry {
  const char* name;
  Isa isa;
  const AttentionVariant& variant;
};
const Entry kVariants[] = {
#if defined(OCTAVO_HAVE_X86_KERNELS)
    {"amx", Isa::amx, kAttentionAmx},          {"avx512bf16", Isa::avx512bf16, kAttentionAvx512Bf16},
    {"avx512", Isa::avx512, kAttentionAvx512}, {"avx2", Isa::avx2, kAttentionAvx2},
#endif
    {"ref", Isa::scalar, kAttentionRef},
};

const Entry& choose(const AttentionUnit& unit) {
  const auto fits = [&](const Entry& e) {
    return e.isa <= max_isa() && (!e.variant.takes || e.variant.takes(unit));
  };
  size_t i = 0;
  while (!fits(kVariants[i])) ++i;  // the last one always does
  return kVariants[i];
}

size_t round_up64(size_t n) { return (n + 63) & ~size_t{63}; }

void check_shape(const AttentionShape& s) {
  if (s.batch < 0 || s.q_len < 0 || s.kv_len < s.q_len || s.head_dim <= 0 || s.kv_heads <= 0 || s.heads <= 0)
    throw std::logic_error("attention: impossible shape");
  if (s.heads % s.kv_heads != 0)
    fail_unsupported("attention needs a number of heads (" + std::to_string(s.heads) +
                     ") that is a multiple of that of key/value heads (" + std::to_string(s.kv_heads) + ")");
}

void check_format(ConstMatrix q, ConstMatrix other) {
  if (q.format != Format::fp32 && q.format != Format::bf16)
    fail_unsupported("attention is computed on fp32 or bf16, not on " + std::string(to_string(q.format)));
  if (other.format != q.format) throw std::logic_error("attention: matrices of different formats");
}

AttentionUnit sizes_of(const AttentionShape& s, Format format) {
  AttentionUnit unit;
  unit.q_len = s.q_len;
  unit.kv_len = s.kv_len;
  unit.group = s.heads / s.kv_heads;
  unit.head_dim = s.head_dim;
  unit.scale = s.scale;
  unit.bf16 = format == Format::bf16;
  unit.one_order = s.one_order;
  unit.sqrt_softmax = s.sqrt_softmax;
  return unit;
}

template <class M>
auto* at(const M& m, int64_t row, int64_t col) {
  return m.row(row) + col * bytes(m.format);
}

/// Row and column where a unit starts in query-like and key-like matrices.
struct Place {
  int64_t q_row, q_col, kv_row, kv_col;

  Place(const AttentionShape& s, int64_t sequence, int64_t kv_head)
      : q_row(sequence * s.q_len),
        q_col(kv_head * (s.heads / s.kv_heads) * s.head_dim),
        kv_row(sequence * (s.kv_batch_stride ? s.kv_batch_stride : s.kv_len)),
        kv_col(kv_head * s.head_dim) {}
};

/// fn(unit index, scratch of this thread) for every index in [0, count), each by whichever thread is free.
template <class Fn>
void for_units(int64_t count, ThreadPool& pool, char* scratch, size_t bytes_per_thread, const Fn& fn) {
  std::atomic<int64_t> next{0};
  pool.run([&](int thread) {
    char* mine = scratch + static_cast<size_t>(thread) * bytes_per_thread;
    for (;;) {
      const int64_t index = next.fetch_add(1, std::memory_order_relaxed);
      if (index >= count) return;
      fn(index, mine);
    }
  });
}

}  // namespace

const char* attention_variant(const AttentionShape& shape, Format format) {
  return choose(sizes_of(shape, format)).name;
}

size_t attention_workspace(const AttentionShape& shape, int threads) {
  check_shape(shape);
  const AttentionUnit unit = sizes_of(shape, Format::bf16);
  size_t most = 0;
  for (const Entry& entry : kVariants) {
    // Of all that may run: what the choice depends on may change until then. Of others not even this may run.
    if (entry.isa > cpu_isa()) continue;
    most = std::max(most, round_up64(entry.variant.forward_scratch(unit)));
    if (shape.q_len == shape.kv_len) most = std::max(most, round_up64(entry.variant.backward_scratch(unit)));
  }
  return most * static_cast<size_t>(threads);
}

void attention_forward(const AttentionShape& s, ConstMatrix q, ConstMatrix k, ConstMatrix v, Matrix out,
                       float* lse, float* amax, ThreadPool& pool, Workspace& workspace) {
  WorkspaceScope scope(workspace);
  const size_t size = attention_workspace(s, pool.size());
  char* scratch = workspace.take<char>(size);
  if (workspace.planning()) return;
  for (const ConstMatrix& m : {k, v, ConstMatrix(out)}) check_format(q, m);

  AttentionUnit common = sizes_of(s, q.format);
  const AttentionVariant& variant = choose(common).variant;
  common.q_stride = q.stride;
  common.k_stride = k.stride;
  common.v_stride = v.stride;
  common.out_stride = out.stride;
  const int64_t tiles = (common.q_len * common.group + variant.row_tile - 1) / variant.row_tile;
  const int64_t heads = s.batch * s.kv_heads;
  std::atomic<uint32_t> top{0};
  for_units(heads * tiles, pool, scratch, size / static_cast<size_t>(pool.size()),
            [&](int64_t index, char* mine) {
              // The last tile of a head sees the most keys; the small ones at the end even out the threads.
              const int64_t tile = tiles - 1 - index / heads, sequence = index % heads / s.kv_heads,
                            kv_head = index % s.kv_heads;
              const Place place(s, sequence, kv_head);
              AttentionUnit unit = common;
              unit.q = at(q, place.q_row, place.q_col);
              unit.k = at(k, place.kv_row, place.kv_col);
              unit.v = at(v, place.kv_row, place.kv_col);
              unit.out = at(out, place.q_row, place.q_col);
              if (lse) unit.lse = lse + (sequence * s.heads + kv_head * unit.group) * s.q_len;
              unit.first_row = tile * variant.row_tile;
              const uint32_t bits = variant.forward(unit, mine);
              uint32_t seen = top.load(std::memory_order_relaxed);
              while (seen < bits && !top.compare_exchange_weak(seen, bits, std::memory_order_relaxed)) {
              }
            });
  if (amax) *amax = float_from_bits(top.load(std::memory_order_relaxed));
}

void attention_backward(const AttentionShape& s, ConstMatrix dout, ConstMatrix q, ConstMatrix k,
                        ConstMatrix v, ConstMatrix out, const float* lse, Matrix dq, Matrix dk, Matrix dv,
                        ThreadPool& pool, Workspace& workspace) {
  if (s.q_len != s.kv_len) throw std::logic_error("attention_backward: q_len differs from kv_len");
  WorkspaceScope scope(workspace);
  const size_t size = attention_workspace(s, pool.size());
  char* scratch = workspace.take<char>(size);
  if (workspace.planning()) return;
  for (const ConstMatrix& m : {dout, k, v, out, ConstMatrix(dq), ConstMatrix(dk), ConstMatrix(dv)})
    check_format(q, m);

  AttentionUnit common = sizes_of(s, q.format);
  const AttentionVariant& variant = choose(common).variant;
  common.q_stride = q.stride;
  common.k_stride = k.stride;
  common.v_stride = v.stride;
  common.out_stride = out.stride;
  common.dout_stride = dout.stride;
  common.dq_stride = dq.stride;
  common.dk_stride = dk.stride;
  common.dv_stride = dv.stride;
  const int64_t units = s.batch * s.kv_heads;
  for_units(units, pool, scratch, size / static_cast<size_t>(pool.size()), [&](int64_t index, char* mine) {
    const int64_t sequence = index / s.kv_heads, kv_head = index % s.kv_heads;
    const Place place(s, sequence, kv_head);
    AttentionUnit unit = common;
    unit.q = at(q, place.q_row, place.q_col);
    unit.k = at(k, place.kv_row, place.kv_col);
    unit.v = at(v, place.kv_row, place.kv_col);
    // A unit has one `out` for both directions; backward only reads it.
    unit.out = const_cast<std::byte*>(at(out, place.q_row, place.q_col));
    unit.lse = const_cast<float*>(lse) + (sequence * s.heads + kv_head * unit.group) * s.q_len;
    unit.dout = at(dout, place.q_row, place.q_col);
    unit.dq = at(dq, place.q_row, place.q_col);
    unit.dk = at(dk, place.kv_row, place.kv_col);
    unit.dv = at(dv, place.kv_row, place.kv_col);
    variant.backward(unit, mine);
  });
}

}  // namespace octavo
