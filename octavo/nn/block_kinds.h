// SPDX-License-Identifier: Apache-2.0
// The two kinds of block; made by Block::make().
#pragma once
#include <string>

#include "octavo/nn/block.h"

namespace octavo {

class PreNormBlock : public Block {
 public:
  PreNormBlock(const std::string& prefix, const Build& build, const RopeTables* rope);
  void plan(Arena& arena, BlockSaved& saved, int64_t rows, const Kept& kept, bool own) const override;
  void forward(Pass& pass, const Batch& batch, Stream& stream, BlockSaved& saved, SavedOperand* next,
               KvCache* cache) const override;
  void backward(Pass& pass, const Batch& batch, BlockSaved& saved, const Kept& kept, Matrix dstream,
                float* amax) const override;

 private:
  void normalize(Pass& pass, const NormLayer& norm, const Stream& stream, NormSaved& saved,
                 SavedOperand& input) const;
  /// Brings back the inner state and all codes.
  void replay(Pass& pass, const Batch& batch, BlockSaved& saved) const;
};

class ResPostBlock : public Block {
 public:
  ResPostBlock(const std::string& prefix, const Build& build, const RopeTables* rope);
  void plan(Arena& arena, BlockSaved& saved, int64_t rows, const Kept& kept, bool own) const override;
  void forward(Pass& pass, const Batch& batch, Stream& stream, BlockSaved& saved, SavedOperand* next,
               KvCache* cache) const override;
  void backward(Pass& pass, const Batch& batch, BlockSaved& saved, const Kept& kept, Matrix dstream,
                float* amax) const override;

 private:
  void add(Pass& pass, const NormLayer& norm, const ResidualFactors& factors, NormSaved& saved,
           Stream& stream, SavedOperand* next) const;
  void replay(Pass& pass, const Batch& batch, BlockSaved& saved) const;
};

}  // namespace octavo
