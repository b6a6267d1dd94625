// SPDX-License-Identifier: Apache-2.0
// Causal softmax attention with grouped key/value heads, in tiles: no T x T matrix is ever stored (arXiv
// 2205.14135).
#pragma once
#include <cstddef>
#include <cstdint>

#include "octavo/base/arena.h"
#include "octavo/base/thread_pool.h"
#include "octavo/tensor/matrix.h"

namespace octavo {

/// q, out: [batch * q_len, heads * head_dim]; k, v: [batch * kv_len, kv_heads * head_dim]; all fp32 or all
/// bf16, each with its own row stride. Query head h reads key/value head h / (heads / kv_heads). Query i of a
/// sequence sees keys 0 .. i + kv_len - q_len, so q_len == kv_len is training and prefill, q_len == 1
/// decoding. For a cache whose sequences are further apart than kv_len rows, kv_batch_stride gives their
/// distance in rows (0: kv_len).
struct AttentionShape {
  int64_t batch = 1, q_len = 0, kv_len = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t kv_batch_stride = 0;
  float scale = 0;  ///< of the scores; 1/sqrt(head_dim) in GPT-2 and Llama
  /// Compute a few rows like many, in the same order and numbers: then no bit of a row depends on how many
  /// queries there are.
  bool one_order = false;
  /// Weights of values are the square roots of the probabilities instead of these: with independent values of
  /// unit variance the output keeps it (arXiv:2502.05967, section 2.1). For analysis: BF16 runs by the
  /// kernels in FP32.
  bool sqrt_softmax = false;
};

/// Bytes either pass takes: some tiles for each thread, whatever the lengths. (What the backward pass sums
/// over tiles waits in the results.) Throws unsupported when heads is not a multiple of kv_heads.
size_t attention_workspace(const AttentionShape& shape, int threads);

/// The implementation that max_isa() selects now: "amx", "avx512bf16", "avx512", "avx2" or "ref". The first
/// two take BF16, more than a few rows (or one_order), head_dim up to 256, no sqrt_softmax; they round
/// probabilities, and in the backward pass the gradients of scores, to BF16 where they are operands, take
/// subnormal BF16 numbers as zero, and probabilities below 2^-126 too.
const char* attention_variant(const AttentionShape& shape, Format format);

/// lse: [batch, heads, q_len], the log of the sum of exponentials of each row, kept for the backward pass (or
/// none). `amax`: receives max |out| as stored, NaN if there is one (or none). Scores, sums and statistics
/// are FP32. No bit of a row depends on finite keys and values it does not see, nor on the team. Throws
/// unsupported for other formats.
void attention_forward(const AttentionShape& shape, ConstMatrix q, ConstMatrix k, ConstMatrix v, Matrix out,
                       float* lse, float* amax, ThreadPool& pool, Workspace& workspace);

/// q_len == kv_len only. dq, dk, dv have the formats and shapes of q, k, v and are overwritten; they may not
/// alias the inputs or each other. Until they are done they hold parts of sums. Work is split by (sequence,
/// key/value head), and within one in a fixed order: same bits for any team. A team larger than batch *
/// kv_heads has idle threads.
void attention_backward(const AttentionShape& shape, ConstMatrix dout, ConstMatrix q, ConstMatrix k,
                        ConstMatrix v, ConstMatrix out, const float* lse, Matrix dq, Matrix dk, Matrix dv,
                        ThreadPool& pool, Workspace& workspace);

}  // namespace octavo
