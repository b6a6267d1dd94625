// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/hf_model.h"

#include "octavo/base/file.h"
#include "octavo/io/safetensors_writer.h"
#include "octavo/io/weight_source.h"
#include "octavo/numerics/bf16.h"

namespace octavo {

void load_hf_weights(const std::string& directory, Transformer& model,
                     const std::function<void(int64_t, int64_t)>& progress) {
  load_hf_weights(WeightSource(directory, model.config(), model.parameters()), model, progress);
}

void load_hf_weights(const WeightSource& source, Transformer& model,
                     const std::function<void(int64_t, int64_t)>& progress) {
  std::vector<float> values;
  int64_t done = 0;
  for (Parameter& p : model.parameters().all()) {
    source.read(p, values);
    model.set_parameter(p, values.data());
    done += p.size();
    if (progress) progress(done, model.parameters().total_size());
  }
}

void save_hf_model(const std::string& directory, Transformer& model, FileDtype dtype,
                   const MasterValues& values_of_all) {
  SafetensorsWriter writer(directory + "/model.safetensors", {{"format", "pt"}});
  for (const Parameter& p : model.parameters().all()) writer.add(p.name, dtype, disk_shape(p));
  std::vector<float> decoded, transposed;
  std::vector<uint16_t> narrow;
  writer.write_all([&](const TensorDeclaration& declaration) -> std::span<const std::byte> {
    const Parameter& p = *model.parameters().find(declaration.name);
    const float* values = values_of_all ? values_of_all(p) : values_of(p.master, decoded, model.pass().pool);
    if (p.transposed_on_disk) {
      transposed.resize(static_cast<size_t>(p.size()));
      transpose(values, p.rows, p.cols, transposed.data());
      values = transposed.data();
    }
    const size_t n = static_cast<size_t>(p.size());
    if (dtype == FileDtype::f32) return std::as_bytes(std::span(values, n));
    narrow.resize(n);
    for (size_t i = 0; i < n; ++i) narrow[i] = bf16_from_float(values[i]);
    return std::as_bytes(std::span<const uint16_t>(narrow));
  });
  writer.close();
  write_file_atomic(directory + "/config.json", hf_config_json(model.config(), dtype));
}

}  // namespace octavo
