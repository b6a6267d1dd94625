// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/report.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/report/document.h"
#include "octavo/report/page.h"
#include "octavo/report/plots.h"
#include "terminal.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

struct Options {
  std::vector<std::string> runs;
  std::string out, svg;
  bool json = false;
};

void write_plots(const Report& report, const std::string& directory) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) fail_data(fmt::format("cannot create '{}': {}", directory, error.message()));
  for (const auto& [name, svg] : make_plots(report)) {
    write_file_atomic(directory + "/" + name, svg);
    if (!quiet()) fmt::print("{}/{}\n", directory, name);
  }
}

void run(Options o) {
  if (o.out.empty() && o.svg.empty() && !o.json) o.out = "report.html";
  std::vector<RunData> runs;
  for (const std::string& path : o.runs) {
    runs.push_back(read_run(path));
    for (const std::string& note : runs.back().notes) message(fmt::format("{}: {}", path, note));
  }
  const Report report = make_report(std::move(runs));
  for (const RunReport& run : report.runs)
    for (const auto& [panel, what] : run.missing)
      if (!o.json) message(fmt::format("{}: {}", run.label, what));
  const std::string document = to_document(report);
  if (o.json) fmt::print("{}\n", document);
  if (!o.svg.empty()) write_plots(report, o.svg);
  if (o.out.empty()) return;
  std::string title;
  for (const RunReport& run : report.runs) title += (title.empty() ? "" : ", ") + run.label;
  const std::string page = make_page(title + " · octavo report", document);
  write_file_atomic(o.out, page);
  if (!o.json) fmt::print("{} ({})\n", o.out, bytes_text(static_cast<double>(page.size())));
}

}  // namespace

void add_report(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand("report", "One page that shows what runs and their numbers did");
  c->add_option("runs", o->runs, "Run directories, or any directory with a tensors.jsonl")
      ->required()
      ->type_name("RUN...");
  c->add_option("-o,--out", o->out, "The HTML file (default: report.html)");
  c->add_option("--svg", o->svg, "Write the main plots as SVG files into this directory too");
  c->add_flag("--json", o->json, "Print the page's data as one JSON object (docs/report.md)");
  c->footer(
      "The page needs no network and no other file. The first bf16 or fp32 run is what others are compared "
      "with.\n"
      "Examples:\n"
      "  octavo train --preset gpt-mini --train-data data/book --log-tensors 10 --profile --out runs/fp8\n"
      "  octavo report runs/fp8 --out fp8.html\n"
      "  octavo report runs/bf16 runs/fp8 --out both.html --svg figures");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
