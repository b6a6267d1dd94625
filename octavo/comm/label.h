// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace octavo {

/// What travels; bytes are counted by it.
enum class Traffic : uint8_t {
  weight_grad,  ///< gradients of weights
  weight,       ///< updated weights
  scale,        ///< scales and largest magnitudes
  control,      ///< decisions, figures of a step
  state         ///< checkpoints, initial weights
};

/// As in messages: "weight gradients".
inline const char* traffic_name(Traffic role) {
  switch (role) {
    case Traffic::weight_grad:
      return "weight gradients";
    case Traffic::weight:
      return "weights";
    case Traffic::scale:
      return "scales";
    case Traffic::control:
      return "control data";
    case Traffic::state:
      return "state";
  }
  return "?";
}

/// What an exchange is, for counters and messages. All ranks give the same one.
struct Label {
  Traffic role = Traffic::control;
  const char* operation = nullptr;  ///< a string literal; null: the name of the collective, "all-gather"
  int64_t step = -1, bucket = -1;   ///< -1: does not belong to one
};

}  // namespace octavo
