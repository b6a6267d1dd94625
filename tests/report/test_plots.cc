// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/plots.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <string_view>

#include "octavo/report/svg_axes.h"
#include "report/report_testing.h"

namespace octavo {
namespace {

/// Reads XML as Svg writes it: elements with quoted attributes, text, five entities; no comments, no
/// declarations.
class XmlCheck {
 public:
  explicit XmlCheck(std::string_view text) : rest_(text) {}

  /// Why the text is not one well-formed element; empty when it is.
  std::string problem() {
    while (!rest_.empty() && problem_.empty()) {
      if (rest_.front() == '<')
        tag();
      else
        character();
    }
    if (!problem_.empty()) return problem_;
    return open_.empty() && elements_ > 0 ? "" : "not closed";
  }

 private:
  bool take(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::string name() {
    size_t length = 0;
    while (length < rest_.size() &&
           (std::isalnum(static_cast<unsigned char>(rest_[length])) || rest_[length] == '-'))
      ++length;
    const std::string out(rest_.substr(0, length));
    rest_.remove_prefix(length);
    return out;
  }
  void fail(const std::string& what) { problem_ = what + " before: " + std::string(rest_.substr(0, 60)); }

  void character() {
    if (rest_.front() == '&') {
      for (const char* entity : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"})
        if (take(entity)) return;
      return fail("a broken entity");
    }
    const auto byte = static_cast<unsigned char>(rest_.front());
    if (byte < 0x20 && byte != '\n' && byte != '\t') return fail("a control character");
    if (open_.empty() && byte != '\n') return fail("text outside the root");
    rest_.remove_prefix(1);
  }

  void tag() {
    if (take("</")) {
      const std::string closed = name();
      if (open_.empty() || open_.back() != closed || !take(">")) return fail("a wrong end of " + closed);
      open_.pop_back();
      return;
    }
    take("<");
    const std::string opened = name();
    if (opened.empty()) return fail("an element without a name");
    if (open_.empty() && elements_ > 0) return fail("a second root");
    ++elements_;
    while (take(" ")) {
      if (name().empty() || !take("=\"")) return fail("a broken attribute");
      while (!rest_.empty() && rest_.front() != '"' && problem_.empty()) {
        if (rest_.front() == '<') return fail("a < in an attribute");
        const bool outside = open_.empty();
        if (outside) open_.push_back("");  // attributes of the root are not text outside it
        character();
        if (outside) open_.pop_back();
      }
      if (!take("\"")) return fail("an attribute without an end");
    }
    if (take("/>")) return;
    if (!take(">")) return fail("a broken tag");
    open_.push_back(opened);
  }

  std::string_view rest_;
  std::vector<std::string> open_;
  std::string problem_;
  int elements_ = 0;
};

std::string xml_problem(const std::string& text) { return XmlCheck(text).problem(); }

TEST(XmlProblem, FindsProblems) {
  EXPECT_EQ(xml_problem("<a b=\"c\"><d/>x &amp; y</a>\n"), "");
  for (const char* bad : {"", "x", "<a>", "<a></b>", "<a>&x;</a>", "<a b=c/>", "<a/><b/>", "<a/>x",
                          "<a b=\"c>", "<a>\x01</a>", "<a b=\"<\"/>"})
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
    EXPECT_TRUE(std::all_of(name.begin(), name.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '.' || c == '-' || c == '_';
    })) << name;
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
  EXPECT_LE(nice_ticks({1e20, 1e20 + 16384}, 5).size(), 20u) << "steps that vanish in rounding";
  EXPECT_EQ(tick_text(0.05), "0.05");
  EXPECT_EQ(tick_text(-0.1 + 0.1), "0");
  EXPECT_EQ(tick_text(20000), "20k");
  EXPECT_EQ(tick_text(-3000000), "-3M");
}

}  // namespace
}  // namespace octavo
