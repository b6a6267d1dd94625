// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>

#include "command.h"
#include "export.h"
#include "octavo/base/error.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {
namespace {

struct Options {
  std::string model, recipe = "fp8-amax", out;
  int threads = 0;
};

void run(const Options& o) {
  const Recipe recipe = load_recipe(o.recipe);
  if (const auto reasons = unsupported(recipe); !reasons.empty())
    fail_unsupported(fmt::format("recipe {} does not run: {}", recipe.name, reasons.front()));
  ExportOptions options;
  options.as_computed = true;
  const ExportSummary s = export_directory(o.model, o.out, recipe, options, true, o.threads);
  fmt::print("{}: {} matrices in F8_E4M3 ({}), {} tensors in 16 bits or more\n", o.out, s.quantized,
             describe(*s.quantization), s.kept);
  fmt::print("size             {:.1f} MB, {:.1f} MB in 16 bits\n", static_cast<double>(s.bytes) / 1e6,
             static_cast<double>(s.bytes_in_bf16) / 1e6);
  fmt::print("worst SNR        {:.1f} dB  {}\n", s.worst_snr_db, s.worst_snr_tensor);
  fmt::print("worst underflow  {:.4g} %  {}\n", 100 * s.worst_underflow,
             s.worst_underflow > 0 ? s.worst_underflow_tensor : "");
}

}  // namespace

void add_quantize(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand("quantize", "Weights to FP8, once, as a recipe says; for octavo to run");
  c->add_option("-m,--model", o->model, "Model directory, run directory or checkpoint")->required();
  c->add_option("--recipe", o->recipe,
                "How weights become FP8; goes along and is what eval and generate compute in")
      ->capture_default_str();
  c->add_option("--out", o->out, "Directory to write")->required();
  c->add_option("--threads", o->threads, "CPU threads, 0 = all")->capture_default_str();
  c->footer(
      "Examples:\n  octavo quantize --model models/smollm2 --recipe fp8-amax --out models/smollm2-fp8\n"
      "  octavo eval --model models/smollm2-fp8 --text wiki.test.raw\n"
      "The directory is a compressed-tensors one, as octavo export writes it; what the recipe keeps high has "
      "the bits it is computed with,\nso that results are those of --recipe on the original, bit for bit. "
      "Inputs of layers are quantized as the model runs.");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
