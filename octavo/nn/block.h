// SPDX-License-Identifier: Apache-2.0
// One transformer block: stream += attention(norm(stream)); stream += mlp(norm(stream)). The branch a half
// produces is added to the stream by the norm that comes next, in the same pass over memory.
#pragma once
#include <string>
#include <vector>

#include "octavo/nn/attention_layer.h"
#include "octavo/nn/mlp.h"
#include "octavo/nn/norm_layer.h"

namespace octavo {

/// Which parts of a block's state have memory of their own until the backward pass. What has not shares
/// memory with the other blocks and is computed again, to the same bits: `inner` by running the block's
/// forward pass once more, the codes by the backward passes of the norm and the activation, which read all it
/// takes anyway.
struct Kept {
  bool stream = true;  ///< the stream on the way in
  bool inner = true;   ///< all between the two streams that is not named below
  bool normed = true;  ///< codes of the normed streams
  bool hidden = true;  ///< codes of the MLP's activation
};

struct BlockSaved {
  NormSaved norm1, norm2;
  AttentionSaved attention;
  MlpSaved mlp;
};

class Block {
 public:
  Block(const std::string& prefix, const ModelConfig& config, const Build& build, const RopeTables* rope);

  BlockSaved make_saved(const Build& build) const;
  /// Reserves the parts that are kept (`own`), or those that are not and those that only the forward pass
  /// reads.
  void plan(Arena& arena, BlockSaved& saved, int64_t rows, const Kept& kept, bool own) const;
  void bind(const Arena& arena, BlockSaved& saved, int64_t rows) const;
  std::vector<Linear*> linears();

  /// In: the stream and the branch that is to be added to it (data == nullptr: none). Out: saved.norm2.stream
  /// is the stream, and `branch` [rows, width] holds the MLP's output, not yet added. `branch` may be the
  /// incoming one.
  void forward(Pass& pass, const Batch& batch, ConstMatrix stream, ConstMatrix branch_in, BlockSaved& saved,
               KvCache* cache, Matrix branch) const;
  /// `amax` holds max |dstream| on the way in and on the way out, or is nullptr.
  /// dstream: gradient of the loss by (stream + branch) on the way in, by the incoming (stream + branch) on
  /// the way out.
  void backward(Pass& pass, const Batch& batch, BlockSaved& saved, const Kept& kept, Matrix dstream,
                float* amax) const;

 private:
  void normalize(Pass& pass, const NormLayer& norm, ConstMatrix stream, ConstMatrix branch, NormSaved& saved,
                 SavedOperand& input) const;
  /// Brings back the inner state and all codes.
  void replay(Pass& pass, const Batch& batch, BlockSaved& saved) const;
  const ModelConfig& config_;
  Format format_;
  NormLayer norm1_;
  AttentionLayer attention_;
  NormLayer norm2_;
  Mlp mlp_;
};

}  // namespace octavo
