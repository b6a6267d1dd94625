// SPDX-License-Identifier: Apache-2.0
// Real corpora and models some tests run on when they are at hand; those tests skip otherwise.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

namespace octavo {

/// Path of `name` below $OCTAVO_SHARED_DATA (or ../shared/data beside the source tree) when it exists.
inline std::optional<std::string> shared_data(const std::string& name) {
  const char* root = std::getenv("OCTAVO_SHARED_DATA");
  const std::string base = root && *root ? root : std::string(OCTAVO_SOURCE_DIR) + "/../shared/data";
  const std::string path = base + "/" + name;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return path;
}

}  // namespace octavo
