// SPDX-License-Identifier: Apache-2.0
// What the blocked GEMM driver and the instruction-set files tell each other. Plain data and function
// pointers only: the files in x86/ are compiled with other flags and may share no inline function with the
// rest.
#pragma once
#include <cstdint>

namespace octavo {

/// How the elements of an operand are read.
enum class GemmElement { fp32, bf16, fp8 };

/// One 8-bit format as tables.
struct GemmDecode {
  alignas(64) uint8_t low[128];   ///< lower byte of the BF16 value of each code without sign
  alignas(64) uint8_t high[128];  ///< upper byte
  alignas(64) float value[256];   ///< FP32 value of each code
  bool nan_is_negative_zero;      ///< FNUZ: the code 0x80 is NaN, which the sign-less tables cannot say
};

/// A block of one operand to pack. `rows` runs over m (A) or n (B).
struct GemmPack {
  const void* data = nullptr;  ///< first element of the block
  int64_t stride = 0;          ///< elements between stored rows
  bool k_contiguous = true;
  GemmElement element = GemmElement::fp32;
  const GemmDecode* decode = nullptr;  ///< fp8 only
  int64_t rows = 0, k = 0;
  void* out = nullptr;
};

/// c = sum * ((alpha * scale_a) * scale_b) + bias (+ c), each step rounded to FP32.
struct GemmStore {
  const float* sum = nullptr;
  int64_t sum_stride = 0;
  int64_t m = 0, n = 0;
  void* c = nullptr;
  int64_t c_stride = 0;
  bool c_is_bf16 = false, accumulate = false;
  float alpha = 1.0f;
  const float* scale_a = nullptr;  ///< one, or m of them
  const float* scale_b = nullptr;  ///< one, or n of them
  bool scale_a_per_row = false, scale_b_per_row = false;
  const float* bias = nullptr;
};

/// sum[m,n] (+)= A·B over packed blocks. `sum` has room for whole tiles; their order in it
/// is the kernel's own matter when it does the epilogue itself.
struct GemmMultiply {
  const void* a = nullptr;
  const void* b = nullptr;
  float* sum = nullptr;
  int64_t sum_stride = 0;
  int64_t m = 0, n = 0, k = 0;       ///< k is a multiple of the kernel's k_unit
  bool first = true;                 ///< start from zero instead of `sum`
  const GemmStore* store = nullptr;  ///< with the last step over k, if the kernel does the epilogue itself
};

/// A problem with at most this many rows and a k-contiguous B goes through GemmDot, unless one_order.
constexpr int64_t kGemmSkinnyRows = 16;
/// Packed rows of A are padded with zeros to this many elements of k for it.
constexpr int64_t kDotUnit = 128;

/// sum[m,n] = x · b^T with b as it is stored. Each sum has 64 parts (the words of k modulo 64), which are
/// added pairwise at the end: another order than that of the packed kernels, but the same for every m and n.
struct GemmDot {
  const void* x = nullptr;  ///< rows packed by pack_rows
  const void* b = nullptr;
  int64_t stride = 0;  ///< elements between rows of b
  GemmElement element = GemmElement::fp32;
  const GemmDecode* decode = nullptr;
  int64_t m = 0, n = 0, k = 0;
  float* sum = nullptr;
  int64_t sum_stride = 0;
};

/// A packed GEMM of one instruction set. A is packed in panels of mr rows, B in panels of nr columns, k
/// padded with zeros to k_unit. Sums go over k in ascending order and wait in FP32 between blocks, so their
/// bits depend neither on the block sizes nor on the place of an element.
struct GemmKernel {
  int64_t mr, nr, k_unit;
  int64_t mc, nc, kc;    ///< block sizes: multiples of mr, nr, k_unit
  int64_t packed_bytes;  ///< of one element
  int64_t keep_bytes;    ///< a packed block of the operand that a thread owns is kept over all of k when it
                         ///< fits here, else packed for each block of the other operand
  void (*pack_a)(const GemmPack&);
  void (*pack_b)(const GemmPack&);
  void (*multiply)(const GemmMultiply&);
  void (*store)(const GemmStore&);
  bool store_in_multiply;  ///< multiply() calls the epilogue itself, while the sums are in L1
  void (*enter)();         ///< once on each thread before the first block
  void (*leave)();
  void (*pack_rows)(const GemmPack&) = nullptr;  ///< A for `dot`
  void (*dot)(const GemmDot&) = nullptr;         ///< without it skinny problems are packed as others
};

/// BF16 and FP8 through VDPBF16PS, for every kernel whose CPUs have it.
void gemm_pack_rows_avx512bf16(const GemmPack& g);
void gemm_dot_avx512bf16(const GemmDot& g);

extern const GemmKernel kGemmAmx, kGemmAvx512Bf16, kGemmAvx512, kGemmAvx2;

}  // namespace octavo
