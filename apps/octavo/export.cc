// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <memory>

#include "command.h"
#include "export.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/tokenizer.h"
#include "octavo/infer/model.h"
#include "octavo/io/checkpoint_dir.h"
#include "octavo/io/folded_export.h"
#include "octavo/recipe/recipe_file.h"
#include "terminal.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

struct Options {
  std::string model, recipe = "fp8-amax", format = "compressed-tensors", granularity, out;
  int threads = 0;
};

const std::map<std::string, ExportFormat> kFormats{{"compressed-tensors", ExportFormat::compressed_tensors},
                                                   {"fp8-block", ExportFormat::fp8_block},
                                                   {"bf16", ExportFormat::bf16}};

/// Writes `out` with what `write` puts there and the tokenizer of `source`.
template <class Write>
void write_model(const std::string& source, const std::string& out, Write write) {
  AtomicDirectory target(out);
  write(target.path());
  try {
    for (const std::string& file : tokenizer_files(source))
      write_file_atomic((fs::path(target.path()) / fs::path(file).filename()).string(), read_file(file));
  } catch (const Error& error) {
    message(fmt::format("no tokenizer goes along: {}", error.what()));
  }
  target.commit({{"kind", "model"}});
}

void fold(const Options& o) {
  const std::string source = model_directory(o.model);
  FoldedExport done;
  write_model(source, o.out, [&](const std::string& path) { done = export_folded(source, path); });
  fmt::print("{} as {} tensors in F32, {:.1f} MB: {}\n", done.architecture, done.tensors,
             static_cast<double>(done.bytes) / 1e6, o.out);
}

void run(const Options& o) {
  if (o.format == "folded") return fold(o);
  ExportOptions options;
  options.format = kFormats.at(o.format);
  if (!o.granularity.empty()) {
    if (options.format != ExportFormat::compressed_tensors)
      fail_usage(fmt::format("--granularity is for compressed-tensors; {} has its own", o.format));
    options.granularity = o.granularity == "channel" ? Granularity::row : Granularity::tensor;
  }
  const ExportSummary summary =
      export_directory(o.model, o.out, load_recipe(o.recipe), options, false, o.threads);
  if (summary.quantization)
    fmt::print("{} matrices in F8_E4M3 ({}), {} tensors in BF16, {:.1f} MB: {}\n", summary.quantized,
               describe(*summary.quantization), summary.kept, static_cast<double>(summary.bytes) / 1e6,
               o.out);
  else
    fmt::print("{} tensors in BF16, {:.1f} MB: {}\n", summary.kept, static_cast<double>(summary.bytes) / 1e6,
               o.out);
}

}  // namespace

std::string describe(const Quantization& q) {
  const char* scales = q.weights.kind == Granularity::tensor ? "one scale a tensor"
                       : q.weights.kind == Granularity::row  ? "one scale an output channel"
                                                             : "one scale for 128 x 128 weights";
  const char* inputs = q.inputs == Quantization::Inputs::unquantized ? "not quantized"
                       : q.inputs == Quantization::Inputs::dynamic   ? "quantized by the reader as it runs"
                                                                     : "quantized with a stored scale";
  return fmt::format("{}, inputs {}", scales, inputs);
}

ExportSummary export_directory(const std::string& model, const std::string& out, const Recipe& recipe,
                               const ExportOptions& options, bool keep_recipe, int threads) {
  const std::string source = model_directory(model);
  ThreadPool pool(threads);
  ExportSummary summary;
  write_model(source, out, [&](const std::string& path) {
    summary = export_model(source, path, recipe, options, pool);
    if (keep_recipe) write_file_atomic(path + "/recipe.toml", to_toml(recipe));
  });
  return summary;
}

void add_export(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand("export",
                                   "Write a model for other programs: FP8 weights with scales as vLLM and "
                                   "transformers read them, or BF16");
  c->add_option("-m,--model", o->model, "Model directory, run directory or checkpoint")->required();
  c->add_option("--recipe", o->recipe,
                "How weights become FP8 (its gemm.fprop.weight) and what happens to inputs")
      ->capture_default_str();
  c->add_option(
       "--format", o->format,
       "compressed-tensors (scales per tensor or channel), fp8-block (128 x 128), bf16, or folded: a model "
       "of family octavo as a plain GPT-NeoX or GPT-2, its constants multiplied into F32 weights")
      ->capture_default_str()
      ->check(CLI::IsMember({"compressed-tensors", "fp8-block", "bf16", "folded"}));
  c->add_option("--granularity", o->granularity,
                "compressed-tensors: tensor or channel instead of the recipe's")
      ->check(CLI::IsMember({"tensor", "channel"}));
  c->add_option("--out", o->out, "Directory to write")->required();
  c->add_option("--threads", o->threads, "CPU threads, 0 = all")->capture_default_str();
  c->footer(
      "Examples:\n  octavo export --model runs/a --out exported/a\n"
      "  octavo export --model models/llama --granularity channel --out exported/llama-fp8\n"
      "  octavo export --model models/llama --format fp8-block --out exported/llama-block\n"
      "  octavo export --model runs/mup --format folded --out exported/mup\n"
      "The head, embeddings, norms and layers the recipe keeps high stay BF16. GPT-2 models: --format bf16 "
      "only.");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
