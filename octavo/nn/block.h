// SPDX-License-Identifier: Apache-2.0
// One transformer block, in either placement of its norms (scheme.h):
//   pre       stream = skip stream + attention(norm(stream)), then the same with the MLP
//   res-post  stream = skip stream + branch norm(attention(stream)), likewise
#pragma once
#include <memory>
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
  bool normed = true;  ///< codes of the normed streams; res-post: of the streams, which go with `inner`
  bool hidden = true;  ///< codes of the MLP's activation
};

struct BlockSaved {
  NormSaved norm1, norm2;
  AttentionSaved attention;
  MlpSaved mlp;
  /// res-post, without `inner`: the stream on the way in.
  Arena::Block entry_block;
  Matrix entry;
};

/// The residual stream on its way from block to block.
struct Stream {
  Matrix sum;       ///< [rows, width]
  Matrix branch;    ///< pre: still to be added, stream = skip * sum + branch; data == nullptr: nothing
  double skip = 1;  ///< pre
  Matrix scratch;   ///< [rows, width] for the blocks to use: pre for branches, res-post for the sum
};

class Block {
 public:
  /// The block `build.block`, with the norms where the configuration has them.
  static std::unique_ptr<Block> make(const std::string& prefix, const Build& build, const RopeTables* rope);
  virtual ~Block() = default;

  BlockSaved make_saved(const Build& build) const;
  /// Reserves the parts that are kept (`own`), or those that are not and those that only the forward pass
  /// reads.
  virtual void plan(Arena& arena, BlockSaved& saved, int64_t rows, const Kept& kept, bool own) const = 0;
  void bind(const Arena& arena, BlockSaved& saved, int64_t rows) const;
  std::vector<Linear*> linears();
  /// Whether its layers scale the gradients that come to them by their largest value.
  bool wants_grad_amax() const { return attention_.wants_grad_amax() || mlp_.wants_grad_amax(); }

  /// Takes the stream one block further. res-post: saved.attention.input is there, by the embedding or the
  /// block before; `next` is what reads the codes of the stream afterwards, or nullptr when nothing does.
  /// pre: null.
  virtual void forward(Pass& pass, const Batch& batch, Stream& stream, BlockSaved& saved, SavedOperand* next,
                       KvCache* cache) const = 0;
  /// dstream: gradient of the loss by the stream on the way out, then by the stream on the way in. `amax`, or
  /// nullptr: pre: max |dstream|, likewise; res-post: room for a maximum.
  virtual void backward(Pass& pass, const Batch& batch, BlockSaved& saved, const Kept& kept, Matrix dstream,
                        float* amax) const = 0;

 protected:
  struct NormNames {
    const char *first, *second;
  };
  Block(const std::string& prefix, const NormNames& norms, const Build& build, const RopeTables* rope);
  /// What every placement keeps of the two halves with `inner`.
  void plan_inner(Arena& arena, BlockSaved& saved, int64_t rows) const;
  void plan_inputs(Arena& arena, BlockSaved& saved, int64_t rows) const;
  void plan_forward(Arena& arena, BlockSaved& saved, int64_t rows) const;

  std::string prefix_;
  const ModelConfig& config_;
  Format format_;
  ResidualFactors factors1_, factors2_;
  NormLayer norm1_;
  AttentionLayer attention_;
  NormLayer norm2_;
  Mlp mlp_;
};

}  // namespace octavo
