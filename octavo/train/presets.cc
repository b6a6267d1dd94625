// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <utility>

#include "octavo/base/error.h"
#include "octavo/base/suggest.h"
#include "octavo/train/run_config.h"

namespace octavo {

const std::vector<std::pair<std::string, std::string>>& embedded_presets();  // generated from presets/*.toml

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const auto& [name, text] : embedded_presets()) names.push_back(name);
  return names;
}

std::string preset_text(const std::string& name) {
  for (const auto& [known, text] : embedded_presets())
    if (known == name) return text;
  fail_usage(fmt::format("unknown preset '{}'{}", name, did_you_mean(name, preset_names())));
}

RunConfig load_preset(const std::string& name) {
  RunConfig config;
  apply_toml(config, preset_text(name), "preset " + name);
  config.preset = name;
  return config;
}

}  // namespace octavo
