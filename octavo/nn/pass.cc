// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/pass.h"

namespace octavo {

const char* to_string(Part part) {
  switch (part) {
    case Part::gemm:
      return "gemm";
    case Part::attention:
      return "attention";
    case Part::quantize:
      return "quantize";
    case Part::norm:
      return "norm";
    case Part::activation:
      return "activation";
    case Part::loss:
      return "loss";
    case Part::embedding:
      return "embedding";
    case Part::optimizer:
      return "optimizer";
    case Part::other:
      return "other";
  }
  return "?";
}

Matrix Pass::temporary(Format format, int64_t rows, int64_t cols) {
  return dense(workspace.take_bytes(static_cast<size_t>(rows * cols * bytes(format))), format, rows, cols);
}

float* Pass::new_amax() {
  float* slot = workspace.take<float>(1);
  if (!planning()) *slot = 0.0f;
  return slot;
}

void Pass::gemm(GemmArgs args) {
  args.one_order = exact;
  if (planning()) {
    const WorkspaceScope scope(workspace);
    workspace.take_bytes(gemm_workspace(args, pool.size()));
    return;
  }
  const PartTimer timer(times, Part::gemm);
  octavo::gemm(args, pool, workspace);
}

void Pass::norm_forward(const NormForward& args) {
  run(Part::norm, [&](ThreadPool& team) { octavo::norm_forward(args, team); });
}

void Pass::norm_backward(const NormBackward& args) {
  if (planning()) {
    const WorkspaceScope scope(workspace);
    workspace.take_bytes(norm_backward_workspace(args.x.rows, args.x.cols));
    return;
  }
  const PartTimer timer(times, Part::norm);
  octavo::norm_backward(args, pool, workspace);
}

void Pass::attention_forward(AttentionShape shape, ConstMatrix q, ConstMatrix k, ConstMatrix v, Matrix out,
                             float* lse, float* amax) {
  shape.one_order = exact;
  if (planning()) {
    const WorkspaceScope scope(workspace);
    workspace.take_bytes(attention_workspace(shape, pool.size()));
    return;
  }
  const PartTimer timer(times, Part::attention);
  octavo::attention_forward(shape, q, k, v, out, lse, amax, pool, workspace);
}

void Pass::attention_backward(AttentionShape shape, ConstMatrix dout, ConstMatrix q, ConstMatrix k,
                              ConstMatrix v, ConstMatrix out, const float* lse, Matrix dq, Matrix dk,
                              Matrix dv) {
  shape.one_order = exact;
  if (planning()) {
    const WorkspaceScope scope(workspace);
    workspace.take_bytes(attention_workspace(shape, pool.size()));
    return;
  }
  const PartTimer timer(times, Part::attention);
  octavo::attention_backward(shape, dout, q, k, v, out, lse, dq, dk, dv, pool, workspace);
}

}  // namespace octavo
