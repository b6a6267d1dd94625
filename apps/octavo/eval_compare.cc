// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "eval.h"
#include "octavo/base/error.h"
#include "octavo/infer/model.h"
#include "octavo/infer/paired.h"
#include "octavo/io/hf_model.h"

namespace octavo {
namespace {

struct Side {
  std::string model, recipe;
};

EvalJson to_json(double a, double b, const Interval& interval) {
  EvalJson j;
  j["a"] = a;
  j["b"] = b;
  j["difference"] = interval.difference;
  j["low"] = interval.low;
  j["high"] = interval.high;
  return j;
}

void print_sides(const Side& a, const Side& b) {
  fmt::print("a: {} in {}\nb: {} in {}\n", a.model, a.recipe, b.model, b.recipe);
}

void print_header(const std::string& first, const std::string& rest) {
  fmt::print("{:<16}{:<12}{:>10}{:>10}{:>11}  {:<24}{}\n", first, "metric", "a", "b", "b - a",
             "95 % interval", rest);
}

std::string signed_text(double value) {
  return std::abs(value) < 1000 ? fmt::format("{:+.5f}", value) : fmt::format("{:+.6g}", value);
}

void print_row(const std::string& name, const std::string& metric, double a, double b, const Interval& i,
               const std::string& rest) {
  fmt::print("{:<16}{:<12}{:>10}{:>10}{:>11}  {:<24}{}\n", name, metric, figure_text(a), figure_text(b),
             signed_text(i.difference), fmt::format("{} .. {}", signed_text(i.low), signed_text(i.high)),
             rest);
}

double as_is(double a, double b) { return b - a; }

void compare_tasks(const EvalOptions& o, const Side& a, const Side& b, ThreadPool& pool, EvalJson& j) {
  const std::vector<Task> tasks = load_tasks(o);
  const TaskRun run_a = run_tasks(o, a.model, a.recipe, tasks, pool),
                run_b = run_tasks(o, b.model, b.recipe, tasks, pool);
  if (!o.json) print_sides(a, b);
  if (!o.json) print_header("task", "gained lost changed  p");
  for (size_t t = 0; t < tasks.size(); ++t) {
    const Task& task = tasks[t];
    EvalJson& own = j["tasks"][task.name];
    own["items"] = task.items.size();
    const std::vector<Metric> all_a = metrics(task, run_a.scores[t]), all_b = metrics(task, run_b.scores[t]);
    for (size_t m = 0; m < all_a.size(); ++m) {
      const Metric &x = all_a[m], &y = all_b[m];
      PairedUnits units{x.values, y.values, std::vector<double>(x.values.size(), 1.0), {}, false};
      units.mean_of_strata = task.mean == TaskMean::groups;
      for (const ItemRange& range : item_ranges(task)) units.strata.push_back(range.first);
      const auto exponential = [](double p, double q) { return std::exp(-q) - std::exp(-p); };
      const Interval interval = x.perplexity ? paired_bootstrap(units, exponential, o.resamples, o.seed)
                                             : paired_bootstrap(units, as_is, o.resamples, o.seed);
      const double value_a = figure(task, x).value, value_b = figure(task, y).value;
      EvalJson& figure_json = own[x.name] = to_json(value_a, value_b, interval);
      std::string rest;
      if (!x.perplexity) {
        const Flips f = flips(x, y);
        const double p = mcnemar(f.gained, f.lost);
        figure_json["gained"] = f.gained;
        figure_json["lost"] = f.lost;
        figure_json["changed"] = f.changed;
        figure_json["p_value"] = p;
        rest = fmt::format("{:>6} {:>4} {:>7}  {:.3g}", f.gained, f.lost, f.changed, p);
      }
      if (!o.json) print_row(m == 0 ? task.name : "", x.name, value_a, value_b, interval, rest);
    }
  }
  j["seconds_a"] = run_a.seconds;
  j["seconds_b"] = run_b.seconds;
}

void compare_texts(const EvalOptions& o, const Side& a, const Side& b, ThreadPool& pool, EvalJson& j) {
  const std::string directory_a = model_directory(a.model), directory_b = model_directory(b.model);
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(directory_a);
  if (load_tokenizer(directory_b)->fingerprint() != tokenizer->fingerprint())
    fail_data(
        fmt::format("{} and {} have different tokenizers: their distributions of the next token cannot be "
                    "compared",
                    directory_a, directory_b));
  const int64_t context = std::min(read_hf_config(directory_a).context, read_hf_config(directory_b).context);
  const TextRun run = open_text(o, *tokenizer, context);
  const Limits limits{o.windows_a_pass(), run.length};
  const LoadedModel loaded_a = load_model(a.model, a.recipe, limits, true, pool),
                    loaded_b = load_model(b.model, b.recipe, limits, true, pool);
  ProgressLine progress(fmt::format("{} in {} and {}", o.text, a.recipe, b.recipe), "windows");
  TextComparison c = compare_text(*loaded_a.model, *loaded_b.model, run.windows, watched(progress));
  progress.finish();

  const PairedUnits units{c.loss_a, c.loss_b, c.scored, {}, false};
  const Interval loss = paired_bootstrap(units, as_is, o.resamples, o.seed);
  const Interval perplexity = paired_bootstrap(
      units, [](double p, double q) { return std::exp(q) - std::exp(p); }, o.resamples, o.seed);
  double sum_a = 0, sum_b = 0;
  for (size_t w = 0; w < c.scored.size(); ++w) {
    sum_a += c.loss_a[w];
    sum_b += c.loss_b[w];
  }
  const double mean_a = sum_a / static_cast<double>(run.scored),
               mean_b = sum_b / static_cast<double>(run.scored);
  const Distribution kl = distribution(std::move(c.divergence));
  const double agreement = static_cast<double>(c.same_top) / static_cast<double>(run.scored);
  EvalJson& own = j["text"];
  own["file"] = o.text;
  own["seq_len"] = run.length;
  own["stride"] = run.stride;
  own["batch"] = o.windows_a_pass();
  own["windows"] = run.windows.size();
  own["scored_tokens"] = run.scored;
  own["loss"] = to_json(mean_a, mean_b, loss);
  own["token_perplexity"] = to_json(std::exp(mean_a), std::exp(mean_b), perplexity);
  own["kl"]["mean"] = kl.mean;
  own["kl"]["p99"] = kl.p99;
  own["kl"]["max"] = kl.max;
  own["top1_agreement"] = agreement;
  if (o.json) return;
  if (o.tasks.empty()) print_sides(a, b);
  print_header("text", "");
  print_row("", "loss", mean_a, mean_b, loss, "");
  print_row("", "perplexity", std::exp(mean_a), std::exp(mean_b), perplexity, "");
  fmt::print("KL(a || b) of the next token: mean {:.3g}, 99 % below {:.3g}, largest {:.3g}\n", kl.mean,
             kl.p99, kl.max);
  fmt::print("the same most likely token: {:.3f} % of {} tokens in {} windows\n", 100 * agreement, run.scored,
             run.windows.size());
}

}  // namespace

void evaluate_pair(const EvalOptions& o, ThreadPool& pool, EvalJson& j) {
  if (!o.data.empty() || !o.log_items.empty())
    fail_usage("a comparison takes --tasks and --text, not --data or --log-items");
  const Side a{o.model, o.compare.empty() ? o.recipe : o.compare[0]};
  const Side b{o.model_b.empty() ? o.model : o.model_b, o.compare.empty() ? o.recipe_b : o.compare[1]};
  const auto side = [](const Side& s) { return EvalJson{{"model", s.model}, {"recipe", s.recipe}}; };
  j["a"] = side(a);
  j["b"] = side(b);
  j["resamples"] = o.resamples;
  j["seed"] = o.seed;
  if (!o.tasks.empty()) j["batch"] = o.sequences_a_pass();
  if (o.limit > 0) j["limit"] = o.limit;
  if (!o.tasks.empty()) compare_tasks(o, a, b, pool, j);
  if (!o.text.empty()) compare_texts(o, a, b, pool, j);
}

}  // namespace octavo
