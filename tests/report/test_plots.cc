// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/plots.h"

#include <gtest/gtest.h>

#include <regex>

#include "octavo/report/svg_axes.h"
#include "report/report_testing.h"

namespace octavo {
namespace {

/// Why `text` is no well-formed XML document of elements and text; empty when it is. Knows what Svg writes:
/// no comments, no CDATA, no declarations.
std::string xml_problem(const std::string& text) {
  static const std::regex open(R"(<([a-z]+)((?: [a-zA-Z0-9:-]+="[^"<]*")*)(/?)>)"), close(R"(</([a-z]+)>)"),
      entity(R"(&(amp|lt|gt|quot|#39);)");
  std::vector<std::string> stack;
  bool root = false;
  for (size_t at = 0; at < text.size();) {
    std::smatch match;
    const auto from = text.cbegin() + static_cast<std::ptrdiff_t>(at);
    constexpr auto here = std::regex_constants::match_continuous;
    if (text[at] == '<') {
      if (std::regex_search(from, text.cend(), match, close, here)) {
        if (stack.empty() || stack.back() != match[1]) return "unexpected " + match.str();
        stack.pop_back();
      } else if (std::regex_search(from, text.cend(), match, open, here)) {
        if (stack.empty() && root) return "a second root";
        root = true;
        if (match[3].length() == 0) stack.push_back(match[1]);
      } else {
        return "a broken tag at " + text.substr(at, 60);
      }
      at += static_cast<size_t>(match.length());
    } else if (text[at] == '&') {
      if (!std::regex_search(from, text.cend(), match, entity, here))
        return "a broken entity at " + text.substr(at, 20);
      at += static_cast<size_t>(match.length());
    } else {
      const auto byte = static_cast<unsigned char>(text[at]);
      if (byte < 0x20 && text[at] != '\n' && text[at] != '\t') return "a control character";
      if (stack.empty() && text[at] != '\n') return "text outside the root";
      ++at;
    }
  }
  return stack.empty() && root ? "" : "not closed";
}

TEST(XmlProblem, FindsProblems) {
  EXPECT_EQ(xml_problem("<a b=\"c\"><d/>x &amp; y</a>\n"), "");
  for (const char* bad :
       {"", "x", "<a>", "<a></b>", "<a>&x;</a>", "<a b=c/>", "<a/><b/>", "<a>\x01</a>", "<a b=\"<\"/>"})
    EXPECT_NE(xml_problem(bad), "") << bad;
}

Report example() {
  RunData bf16 = synthetic_run("bf16", 200, 0, 10);
  bf16.recipe = "bf16";
  return make_report({bf16, synthetic_run("fp8 & <co> \"x\" \x02", 200, 3, 10, 0.01)});
}

TEST(Plots, AllAreWellFormedAndFinite) {
  const auto plots = make_plots(example());
  for (const char* name : {"loss.svg", "delta.svg", "memory.svg"}) EXPECT_TRUE(plots.contains(name)) << name;
  EXPECT_EQ(plots.size(), 7u) << "and scales, bias, rounding, histogram of the run with tensors";
  for (const auto& [name, svg] : plots) {
    EXPECT_EQ(xml_problem(svg), "") << name;
    EXPECT_TRUE(std::regex_match(name, std::regex("[a-zA-Z0-9._-]+\\.svg"))) << name;
    for (const char* word : {"nan", "inf,", "\"inf", "-inf"})
      EXPECT_EQ(svg.find(word), std::string::npos) << name << ": " << word;
    EXPECT_EQ(svg.find("<script"), std::string::npos);
    EXPECT_NE(svg.find("<title>"), std::string::npos);
  }
}

TEST(Plots, RunsWithoutDataHaveNone) {
  RunData bare;
  bare.path = bare.name = "bare";
  EXPECT_TRUE(make_plots(make_report({bare})).empty());
}

TEST(Plots, SameNamesDoNotOverwriteEachOther) {
  RunData a = synthetic_run("x/y", 20, 1, 10), b = synthetic_run("x y", 20, 1, 10);
  const auto plots = make_plots(make_report({a, b}));
  EXPECT_TRUE(plots.contains("scales-x_y.svg"));
  EXPECT_TRUE(plots.contains("scales-x_y-2.svg"));
}

TEST(Axes, Ticks) {
  EXPECT_EQ(nice_ticks({0, 10}, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(nice_ticks({5, 5}, 5), std::vector<double>{});
  for (const Range& range : {Range{-0.013, 0.02}, Range{3.1, 3.2}, Range{1e-9, 2e-9}, Range{-1e6, 5e7}}) {
    const std::vector<double> ticks = nice_ticks(range, 5);
    EXPECT_GE(ticks.size(), 3u);
    EXPECT_LE(ticks.size(), 8u);
    for (const double t : ticks)
      EXPECT_TRUE(t >= range.low - 1e-9 * std::fabs(range.low) && t <= range.high * (1 + 1e-9)) << t;
  }
  EXPECT_EQ(tick_text(0.05), "0.05");
  EXPECT_EQ(tick_text(-0.1 + 0.1), "0");
  EXPECT_EQ(tick_text(20000), "20k");
  EXPECT_EQ(tick_text(-3000000), "-3M");
}

}  // namespace
}  // namespace octavo
