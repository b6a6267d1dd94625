// SPDX-License-Identifier: Apache-2.0
// What the sum of FP8 gradients over ranks loses, by how it is scaled and added up (arXiv:2310.18313,
// section 2.1): measured on gradients at hand, by the rule training follows (train/data_parallel.h).
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "octavo/kernels/sum_codes.h"
#include "octavo/recipe/recipe.h"

namespace octavo {

/// pre, post, rsqrt: current scales, and the division by N before, after, or half and half. factor, absolute:
/// the two readings of automatic scaling, divided after.
enum class ReduceScheme { pre, post, rsqrt, factor, absolute };
inline constexpr std::array kReduceSchemes{ReduceScheme::pre, ReduceScheme::post, ReduceScheme::rsqrt,
                                           ReduceScheme::factor, ReduceScheme::absolute};
inline constexpr std::array kCodeSums{CodeSum::fp32, CodeSum::chain, CodeSum::tree};
/// "pre", "post", "1/sqrt(N)", "auto, factor", "auto, absolute"; "fp32", "fp8-chain", "fp8-tree".
const char* to_string(ReduceScheme scheme);
const char* to_string(CodeSum sum);

/// Sums over elements, tensors and steps; the figures are their quotients.
struct ReductionFigures {
  double signal = 0, error = 0;  ///< squares: of the FP64 sum of the FP32 gradients; of the result minus it
  int64_t sums = 0, sums_lost = 0;   ///< not zero; of these zero in the result
  int64_t sums_unsent = 0;           ///< of those lost: all ranks sent zero; the rest cancelled once rounded
  int64_t sent = 0, sent_lost = 0;   ///< of each rank: not zero; of these zero as it is sent
  int64_t codes = 0, saturated = 0;  ///< of the result
  // Sums of two rounded to 8 bits; the last ones make the result.
  int64_t additions = 0, additions_saturated = 0;
  int64_t local_codes = 0, local_saturated = 0;  ///< before ranks agree on a scale

  double snr_db() const;  ///< infinite without error
  double underflow() const { return share(sums_lost, sums); }
  double unsent() const { return share(sums_unsent, sums); }
  double sent_underflow() const { return share(sent_lost, sent); }
  double overflow() const { return share(saturated, codes); }
  double addition_overflow() const { return share(additions_saturated, additions); }
  ReductionFigures& operator+=(const ReductionFigures& other);

 private:
  static double share(int64_t part, int64_t of) {
    return of == 0 ? 0 : static_cast<double>(part) / static_cast<double>(of);
  }
};

/// The gradients of one tensor of N ranks at one step, and their reductions.
class RankGradients {
 public:
  /// ranks[r][size]; they must outlive this.
  RankGradients(std::vector<const float*> ranks, int64_t size, ThreadPool& pool);

  /// Reduction by each of kCodeSums. As the engine does it: each rank's codes by `rule` with its own scale,
  /// which has `mu` in it (Scaler::mu; 1 without automatic scaling); the largest scale times `division` for
  /// all; codes by that; their sum, in codes of it. Remembered: the same scales give the same result.
  const std::array<ReductionFigures, kCodeSums.size()>& reduce(const RoleSpec& rule, float mu,
                                                               double division);
  /// The values of the last reduction that was not remembered, one array for each of kCodeSums.
  const std::array<std::vector<float>, kCodeSums.size()>& values() const { return values_; }

 private:
  std::vector<const float*> ranks_;
  int64_t size_;
  ThreadPool& pool_;
  std::vector<float> amaxes_;
  std::vector<double> exact_;
  std::map<std::pair<std::vector<float>, float>, std::array<ReductionFigures, kCodeSums.size()>> known_;
  std::array<std::vector<float>, kCodeSums.size()> values_;
};

/// What the factors of automatic scaling did, over tensors and the steps that count.
struct FactorTrack {
  double low = 0, high = 0, sum = 0;  ///< of log2(mu)
  int64_t entries = 0, drops = 0;     ///< drops: after a step with too many saturated codes
  void add(float mu, bool dropped);
};

struct ReductionPlan {
  std::vector<int> ranks{4, 8, 32, 128};
  int64_t steps = 4000;  ///< of the controller of automatic scaling; the second half counts
};

/// One number of ranks, one scheme, one way to sum.
struct ReductionRow {
  int ranks = 0;
  ReduceScheme scheme{};
  CodeSum sum{};
  std::vector<ReductionFigures> blocks;
  ReductionFigures all;
  FactorTrack mu;  ///< automatic scaling only
};

struct ReductionResult {
  std::string recipe, model, data;
  int64_t batch = 0, seq_len = 0, tensors = 0, elements = 0, steps = 0;
  std::vector<std::pair<int, int64_t>> batches;  ///< numbers of ranks and distinct steps of each
  std::vector<ReductionRow> rows;
};

/// Gradients of one linear layer: of each micro-batch, in order.
struct LayerGradients {
  std::string name;
  int block = 0;
  int64_t size = 0;
  RoleSpec rule;  ///< as the recipe sends them
  std::vector<std::vector<float>> of_batch;
};

/// Fills result.rows and what is counted. N ranks take N micro-batches in a row, the next step the next N;
/// steps go round through what there is, at most kDistinctSteps of them. Throws usage when there are fewer
/// than N.
inline constexpr int64_t kDistinctSteps = 8;
void reduce_layers(std::span<const LayerGradients> layers, const ReductionPlan& plan, ThreadPool& pool,
                   ReductionResult& result, const std::function<void(const std::string&)>& progress = {});

/// Tables for people, UTF-8, ending with a line end.
std::string to_text(const ReductionResult& result);
/// One JSON object on one line, schema "octavo-reduce-1" (docs/cli.md).
std::string to_json(const ReductionResult& result);
/// "snr.svg", "underflow.svg", "sent.svg", "overflow.svg": against blocks, a row of plots for each way to
/// sum, a column for each number of ranks, a curve a scheme.
std::map<std::string, std::string> plot_reduction(const ReductionResult& result);
/// One self-contained page with pictures and tables.
std::string reduction_page(const ReductionResult& result);

}  // namespace octavo
