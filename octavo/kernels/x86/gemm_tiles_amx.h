// SPDX-License-Identifier: Apache-2.0
// The one tile configuration in use: eight tiles of 16 rows of 64 bytes.
#pragma once
#include <immintrin.h>

#include <cstdint>

namespace octavo {
namespace {

inline void configure_tiles() {
  struct alignas(64) {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } config{};
  config.palette = 1;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = 64;
    config.rows[i] = 16;
  }
  // The compiler believes that the load reads only the first eight bytes.
  __asm__ volatile("" : : "r"(&config) : "memory");
  _tile_loadconfig(&config);
}

}  // namespace
}  // namespace octavo
