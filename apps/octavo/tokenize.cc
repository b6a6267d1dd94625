// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/tokenizer.h"

namespace octavo {

void add_tokenize(CLI::App& app) {
  struct Options {
    std::string tokenizer, text, file;
    bool json = false, bos = false, special = false;
  };
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand("tokenize", "Show the tokens of a text");
  c->add_option("--tokenizer", o->tokenizer, "Tokenizer file, or a directory with one (a model, a data set)")
      ->required();
  c->add_option("--text", o->text, "The text");
  c->add_option("--file", o->file, "A file with the text");
  c->add_flag("--bos", o->bos, "Begin with the tokenizer's BOS");
  c->add_flag("--parse-special", o->special, "Special tokens written out in the text become tokens");
  c->add_flag("--json", o->json, "One JSON object: ids");
  c->footer("Example:\n  octavo tokenize --tokenizer runs/book/final --text 'In the beginning'");
  c->callback([o] {
    if (o->text.empty() == o->file.empty()) fail_usage("give either --text or --file");
    const auto tokenizer = load_tokenizer(o->tokenizer);
    const std::string text = o->file.empty() ? o->text : read_file(o->file);
    const std::vector<int32_t> ids = tokenizer->encode(text, o->bos, o->special);
    if (o->json) {
      fmt::print("{}\n", nlohmann::json{{"ids", ids}}.dump());
      return;
    }
    for (const int32_t id : ids)
      fmt::print("{:>7}  {}\n", id,
                 nlohmann::json(tokenizer->token_bytes(id))
                     .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    fmt::print("{} tokens, {} bytes\n", ids.size(), text.size());
  });
}

}  // namespace octavo
