// SPDX-License-Identifier: Apache-2.0
// safetensors_tool IN OUT: reads one file and writes its content anew. Exit code 4 and a sentence for a bad
// file.
#include <cstdio>

#include "octavo/base/error.h"
#include "octavo/io/safetensors.h"
#include "octavo/io/safetensors_writer.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: safetensors_tool IN OUT\n");
    return 2;
  }
  try {
    const octavo::SafetensorsFile in(argv[1]);
    octavo::SafetensorsWriter out(argv[2], in.metadata());
    for (const octavo::TensorInfo& tensor : in.tensors())
      out.add(tensor.name(), tensor.dtype(), tensor.shape());
    out.write_all([&](const octavo::TensorDeclaration& tensor) { return in.get(tensor.name).data(); });
    out.close();
  } catch (const octavo::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(error.code());
  }
  return 0;
}
