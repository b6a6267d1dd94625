// SPDX-License-Identifier: Apache-2.0
// tensorboard_tool DIR FIRST COUNT: one event file with `loss` = 1/(step+1) and `lr` = step/1000 for COUNT
// steps.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "octavo/base/error.h"
#include "octavo/io/tensorboard.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: tensorboard_tool DIR FIRST COUNT\n");
    return 2;
  }
  try {
    octavo::EventFileWriter writer(argv[1]);
    const long first = std::atol(argv[2]), last = first + std::atol(argv[3]);
    for (long step = first; step < last; ++step) {
      const std::vector<std::pair<std::string, float>> values = {
          {"loss", 1.0f / static_cast<float>(step + 1)}, {"lr", static_cast<float>(step) / 1000.0f}};
      writer.add_scalars(step, values, 1.7e9 + static_cast<double>(step));
    }
    writer.close();
  } catch (const octavo::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(error.code());
  }
  return 0;
}
