// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/lab_data.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/dataset.h"
#include "octavo/data/prepare.h"
#include "octavo/io/json_file.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

/// What a prepared data set was made from, beside it: dataset.json knows the vocabulary that came out, not
/// the one that was asked for.
constexpr const char* kRequest = "/lab.json";

void check_request(const std::string& target, const std::string& source, int64_t bytes, int32_t vocab_size) {
  const JsonObject made = JsonObject::read(target + kRequest);
  const auto other = [&](const std::string& what) {
    fail_usage(fmt::format("'{}' was prepared from {}; give another --out, or remove it", target, what));
  };
  if (made.get_string("source") != source)
    other(fmt::format("'{}', not '{}'", made.get_string("source"), source));
  if (made.get_int("bytes") != bytes)
    other(fmt::format("'{}' when it had {} bytes, it has {} now", source, made.get_int("bytes"), bytes));
  if (made.get_int("vocab_size") != vocab_size)
    other(fmt::format("that text with a vocabulary of {}, not {}", made.get_int("vocab_size"), vocab_size));
}

}  // namespace

std::string lab_data(const std::string& data, int32_t vocab_size, const std::string& directory,
                     const std::function<void(const char*, int64_t, int64_t)>& progress,
                     bool needs_validation) {
  std::error_code error;
  if (!fs::exists(data, error))
    fail_data(fmt::format("--data '{}': there is no such file or directory", data));
  if (fs::is_directory(data, error)) {
    if (read_dataset(data).val.tokens == 0 && needs_validation)
      fail_data(
          fmt::format("'{}/dataset.json': the data set has no validation split, which a comparison needs; "
                      "prepare it with --val-fraction 0.05",
                      data));
    return data;
  }
  const std::string extension = fs::path(data).extension().string();
  if (extension == ".octok" || extension == ".bin") return data;

  const std::string target = directory + "/data", source = fs::weakly_canonical(data, error).string();
  const auto bytes = static_cast<int64_t>(fs::file_size(data, error));
  if (fs::exists(target + kRequest, error)) {
    check_request(target, source, bytes, vocab_size);
    return target;
  }
  if (fs::exists(target, error))
    fail_usage(fmt::format("'{}' is there and was not made by a comparison; give another --out", target));
  // A process that died here left its part behind.
  const std::string part = target + ".part";
  fs::remove_all(part, error);
  PrepareOptions options;
  options.inputs = {data};
  options.vocab_size = vocab_size;
  options.out = part;
  options.progress = progress;
  prepare(options);
  nlohmann::ordered_json request{{"source", source}, {"bytes", bytes}, {"vocab_size", vocab_size}};
  write_file_atomic(part + kRequest,
                    request.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  fs::rename(part, target, error);
  if (error) fail_data(fmt::format("cannot rename '{}' to '{}': {}", part, target, error.message()));
  return target;
}

}  // namespace octavo
