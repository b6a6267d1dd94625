// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/inspect.h"

#include <fmt/format.h>

#include <memory>

#include "command.h"

namespace octavo {
namespace {

struct Options {
  std::string path;
  bool json = false;
};

void run(const Options& o) {
  const Inspection found = inspect(o.path);
  fmt::print("{}", o.json ? to_json(found) : to_text(found));
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c =
      app.add_subcommand("inspect", "What a model, checkpoint, tensor file, token shard or run holds");
  c->add_option("path", o->path, "File or directory")->required();
  c->add_flag("--json", o->json, "Print one JSON object (docs/cli.md)");
  c->footer(
      "Examples:\n"
      "  octavo inspect runs/a\n"
      "  octavo inspect runs/a/final\n"
      "  octavo inspect model.safetensors --json\n"
      "  octavo inspect SmolLM2-135M.gguf\n"
      "  octavo inspect data/book/train_000000.octok");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
