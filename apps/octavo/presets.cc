// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>

#include "command.h"
#include "octavo/nn/model_config.h"
#include "octavo/train/run_config.h"
#include "terminal.h"

namespace octavo {

void add_presets(CLI::App& app) {
  CLI::App* c =
      app.add_subcommand("presets", "List the shipped model and training presets, or print one as TOML");
  c->require_subcommand(0, 1);
  c->footer(
      "Examples:\n  octavo presets\n  octavo presets show gpt-mini > my.toml && octavo train --config "
      "my.toml --train-data data/book");
  auto name = std::make_shared<std::string>();
  CLI::App* show = c->add_subcommand("show", "Print a preset");
  show->add_option("name", *name, "Preset")->required();
  show->callback([name] { fmt::print("{}", preset_text(*name)); });
  c->callback([c] {
    if (!c->get_subcommands().empty()) return;
    fmt::print("{:<20} {:>10}  {}\n", "preset", "parameters", "what");
    for (const std::string& preset : preset_names()) {
      const ModelConfig model = model_config(load_preset(preset), 4096);
      const std::string text = preset_text(preset);
      const size_t from = text.find("\n# ") + 3;
      fmt::print("{:<20} {:>10}  {}\n", preset, short_number(static_cast<double>(parameter_count(model))),
                 text.substr(from, text.find('\n', from) - from));
    }
  });
}

}  // namespace octavo
