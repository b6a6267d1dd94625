// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/balance.h"

#include <fmt/format.h>

#include <memory>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/train/run_config.h"

namespace octavo {
namespace {

struct Options {
  std::vector<std::string> models{"fp8-lm-125m", "fp8-lm-7b", "fp8-lm-13b/tp2", "fp8-lm-175b/tp8/pp4"},
      settings;
  std::vector<int> ranks{2, 4, 8, 16, 32, 64};
  std::vector<int64_t> vocabularies{100352};
  std::string recipe = "fp8-lm-o2", svg;
  bool json = false;
};

void run(const Options& o) {
  const Recipe recipe = load_recipe(o.recipe);
  BalanceResult result;
  result.recipe = recipe.name;
  for (const std::string& text : o.models) {
    const ModelWord word = parse_model_word(text);
    RunConfig config = load_preset(word.name);
    for (const std::string& setting : o.settings) {
      if (!setting.starts_with("model."))
        fail_usage(fmt::format("--set {} changes no shape; keys of model.* do", setting));
      apply_setting(config, setting);
    }
    // A preset with a vocabulary of its own has one row.
    const size_t count = config.model.vocab_size ? 1 : o.vocabularies.size();
    for (size_t i = 0; i < count; ++i) {
      const ModelConfig shape = model_config(config, o.vocabularies[i]);
      result.models.push_back(balance_model(fmt::format("{}, vocabulary {}", text, shape.vocab_size), shape,
                                            recipe, word.split, o.ranks));
    }
  }
  if (!o.svg.empty()) write_file_atomic(o.svg, plot_balance(result));
  fmt::print("{}", o.json ? to_json(result) + "\n" : to_text(result));
}

}  // namespace

void add_balance(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand(
      "balance",
      "How evenly the tensors of a model divide among ranks that keep each whole (ZeRO); takes no memory");
  c->add_option("--models", o->models,
                "Presets: NAME, NAME/tp8 (a rank of 8 that share each matrix), NAME/pp4 (the first of 4\n"
                "pipeline stages), NAME/tp8/pp4.2 (the third)")
      ->capture_default_str()
      ->delimiter(',')
      ->allow_extra_args(false);
  c->add_option("--set", o->settings,
                "model.KEY=VALUE over the presets, for instance model.layers=48; may be repeated")
      ->allow_extra_args(false);
  c->add_option("--vocab-size", o->vocabularies, "Of presets that leave it to the data")
      ->capture_default_str()
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 31));
  c->add_option("--ranks", o->ranks, "Numbers of data-parallel ranks")
      ->capture_default_str()
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(1, 1 << 16));
  c->add_option("--recipe", o->recipe, "Numbers that the state of a parameter is kept in")
      ->capture_default_str();
  c->add_option("--svg", o->svg, "Write a picture there: largest load / mean against ranks");
  c->add_flag("--json", o->json, "Print one JSON object (docs/cli.md)");
  c->footer(
      "Examples:\n"
      "  octavo balance\n"
      "  octavo balance --models gpt2-124m,llama2-70b/tp8 --ranks 8,16 --recipe fp8-lm-o1\n"
      "  octavo balance --models gpt-mini --set model.width=1024 --set model.heads=16 --svg balance.svg");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
