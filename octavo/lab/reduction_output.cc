// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "octavo/lab/reduction.h"
#include "octavo/report/page.h"
#include "octavo/report/palette.h"
#include "octavo/report/svg_axes.h"

namespace octavo {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFaint = "#5b6472";
constexpr double kFloor = -8;  ///< shares below 10^-8, zero among them, are drawn there

bool automatic(ReduceScheme scheme) {
  return scheme == ReduceScheme::factor || scheme == ReduceScheme::absolute;
}

const char* colour(ReduceScheme scheme) { return kLineColours[static_cast<size_t>(scheme)].on_light; }

/// "0", or with three digits.
std::string share_text(double share) { return share == 0 ? "0" : fmt::format("{:.3g}", share); }

Json figures(const ReductionFigures& f, CodeSum sum) {
  Json j{{"snr_db", std::isfinite(f.snr_db()) ? Json(significant(f.snr_db(), 5)) : Json()},
         {"underflow", significant(f.underflow(), 4)},
         {"unsent", significant(f.unsent(), 4)},
         {"sent_underflow", significant(f.sent_underflow(), 4)},
         {"overflow", significant(f.overflow(), 4)}};
  if (sum != CodeSum::fp32) j["addition_overflow"] = significant(f.addition_overflow(), 4);
  return j;
}

/// What a picture shows of a row's block.
struct Picture {
  std::string title;
  double (*value)(const ReductionFigures&);
  bool logarithmic;
};

double drawn(const Picture& picture, const ReductionFigures& f) {
  const double value = picture.value(f);
  return picture.logarithmic ? std::max(kFloor, std::log10(value)) : value;
}

void y_axis(Svg& svg, Axes& axes, const Box& box, const Range& x, const Range& y, bool logarithmic) {
  if (!logarithmic) return axes.y_axis("", 4);
  for (int e = static_cast<int>(std::ceil(y.low)); e <= static_cast<int>(y.high); e += 2) {
    axes.level(e, "#c9ced6", "");
    svg.text({box.x - 6, axes.at(x.low, e).y + 4},
             e == static_cast<int>(kFloor) ? "0" : fmt::format("1e{}", e), {11, Anchor::end, kFaint});
  }
}

std::string draw(const ReductionResult& result, const Picture& picture) {
  Range y = Range::none();
  size_t blocks = 1;
  for (const ReductionRow& row : result.rows)
    for (const ReductionFigures& f : row.blocks) {
      y.include({drawn(picture, f)});
      blocks = row.blocks.size();
    }
  if (picture.logarithmic) y.include({kFloor, 0});
  y.pad(0.05);
  const Range x{-0.2, static_cast<double>(blocks) - 0.8};
  constexpr double kWidth = 190, kHeight = 130, kStepX = 246, kStepY = 188;
  Svg svg(std::max(800.0, 76 + kStepX * static_cast<double>(result.batches.size())),
          44 + kStepY * kCodeSums.size() + 40, picture.title);
  svg.text({56, 20}, picture.title, {13, Anchor::start, "#1f2430", true});
  for (size_t column = 0; column < result.batches.size(); ++column)
    for (size_t s = 0; s < kCodeSums.size(); ++s) {
      const Box box{56 + kStepX * static_cast<double>(column), 56 + kStepY * static_cast<double>(s), kWidth,
                    kHeight};
      Axes axes(svg, box, x, y);
      axes.title(fmt::format("N = {}, sum {}", result.batches[column].first, to_string(kCodeSums[s])));
      y_axis(svg, axes, box, x, y, picture.logarithmic);
      axes.x_axis("", 4, false);
      for (size_t b = 0; b < blocks; b += 1 + blocks / 12)
        svg.text({axes.at(static_cast<double>(b), y.low).x, box.y + kHeight + 16}, fmt::format("{}", b),
                 {11, Anchor::middle, kFaint});
      for (const ReductionRow& row : result.rows) {
        if (row.ranks != result.batches[column].first || row.sum != kCodeSums[s]) continue;
        Series series;
        for (size_t b = 0; b < blocks; ++b) series.add(static_cast<double>(b), drawn(picture, row.blocks[b]));
        // Curves that lie on each other stay visible: later ones are thinner.
        axes.curve(series, colour(row.scheme), 3.4 - 0.5 * static_cast<double>(row.scheme));
        axes.dots(series, colour(row.scheme));
      }
    }
  const double bottom = 56 + kStepY * kCodeSums.size();
  for (size_t i = 0; i < kReduceSchemes.size(); ++i) {
    const double at = 56 + 150 * static_cast<double>(i);
    svg.line({at, bottom - 4}, {at + 20, bottom - 4}, colour(kReduceSchemes[i]), 2.5);
    svg.text({at + 26, bottom}, to_string(kReduceSchemes[i]), {11});
  }
  svg.text({56, bottom + 18}, "horizontal: transformer block", {11, Anchor::start, kFaint});
  return svg.str();
}

}  // namespace

std::string to_text(const ReductionResult& result) {
  std::string out = fmt::format(
      "{} and {}, recipe {}: {} gradients of {} elements in all, micro-batches of {} x {} tokens\n",
      result.model, result.data, result.recipe, result.tensors, result.elements, result.batch,
      result.seq_len);
  for (const auto& [ranks, batches] : result.batches) {
    out += fmt::format("\n{} ranks, {} distinct step{}; automatic scaling: the last {} of {} steps\n", ranks,
                       batches, batches == 1 ? "" : "s", result.steps / 2, result.steps);
    out += fmt::format("{:<11}{:<16}{:>8} {:>10} {:>10} {:>10} {:>10} {:>10}  {:<20}{}\n", "sum", "scheme",
                       "SNR dB", "underflow", "unsent", "sent", "overflow", "additions", "log2 of factor",
                       "SNR dB of blocks");
    for (const ReductionRow& row : result.rows) {
      if (row.ranks != ranks) continue;
      const ReductionFigures& f = row.all;
      std::string factor, blocks;
      if (row.mu.entries > 0)
        factor = fmt::format("{:.1f} ({:.1f} to {:.1f})", row.mu.sum / static_cast<double>(row.mu.entries),
                             row.mu.low, row.mu.high);
      for (const ReductionFigures& b : row.blocks) blocks += fmt::format("{:>6.2f}", b.snr_db());
      out += fmt::format("{:<11}{:<16}{:>8.2f} {:>10} {:>10} {:>10} {:>10} {:>10}  {:<20}{}\n",
                         to_string(row.sum), to_string(row.scheme), f.snr_db(), share_text(f.underflow()),
                         share_text(f.unsent()), share_text(f.sent_underflow()), share_text(f.overflow()),
                         row.sum == CodeSum::fp32 ? "-" : share_text(f.addition_overflow()), factor, blocks);
    }
  }
  return out +
         "\nShares 0..1. underflow: sums that are not zero and become it; unsent: those of which every rank "
         "sent zero, the "
         "others cancelled\nonce they were rounded; sent: what is not zero and is sent as zero; overflow: "
         "results at "
         "the end of the format's range;\nadditions: sums of two rounded to it.\n";
}

std::string to_json(const ReductionResult& result) {
  Json j{{"schema", "octavo-reduce-1"}, {"model", result.model},       {"data", result.data},
         {"recipe", result.recipe},     {"batch", result.batch},       {"seq_len", result.seq_len},
         {"tensors", result.tensors},   {"elements", result.elements}, {"steps", result.steps}};
  for (const auto& [ranks, batches] : result.batches)
    j["batches"].push_back({{"ranks", ranks}, {"distinct_steps", batches}});
  for (const ReductionRow& row : result.rows) {
    Json r{{"ranks", row.ranks}, {"sum", to_string(row.sum)}, {"scheme", to_string(row.scheme)}};
    r.update(figures(row.all, row.sum));
    if (automatic(row.scheme) && row.mu.entries > 0) {
      const auto entries = static_cast<double>(row.mu.entries);
      r["log2_mu"] = {{"low", significant(row.mu.low, 4)},
                      {"mean", significant(row.mu.sum / entries, 4)},
                      {"high", significant(row.mu.high, 4)}};
      r["drops"] = significant(static_cast<double>(row.mu.drops) / entries, 4);
    }
    for (const ReductionFigures& block : row.blocks) r["blocks"].push_back(figures(block, row.sum));
    j["rows"].push_back(std::move(r));
  }
  return j.dump();
}

std::map<std::string, std::string> plot_reduction(const ReductionResult& result) {
  return {{"snr.svg", draw(result, {"signal to noise of the summed gradient, dB",
                                    [](const ReductionFigures& f) { return f.snr_db(); }, false})},
          {"underflow.svg", draw(result, {"underflow: share of the sums that become zero",
                                          [](const ReductionFigures& f) { return f.underflow(); }, true})},
          {"sent.svg", draw(result, {"share of what ranks send that becomes zero",
                                     [](const ReductionFigures& f) { return f.sent_underflow(); }, true})},
          {"overflow.svg", draw(result, {"overflow: share of the results at the end of the range",
                                         [](const ReductionFigures& f) { return f.overflow(); }, true})}};
}

std::string reduction_page(const ReductionResult& result) {
  std::string page =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\">\n"
      "<title>Sums of FP8 gradients · octavo reduce</title>\n"
      "<style>body{font:15px "
      "system-ui,sans-serif;margin:2em;color:#1f2430;background:#fff}svg{max-width:100%;"
      "height:auto;display:block;margin-bottom:2em}pre{font-size:12px;overflow-x:auto}</style></head>\n"
      "<body><h1>Sums of FP8 gradients</h1>\n";
  for (const auto& [name, svg] : plot_reduction(result)) page += svg;
  return page + "<pre>" + escape_markup(to_text(result)) + "</pre></body></html>\n";
}

}  // namespace octavo
