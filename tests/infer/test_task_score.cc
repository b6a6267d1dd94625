// SPDX-License-Identifier: Apache-2.0
// From log-likelihoods to figures, to differences, to intervals.
#include "octavo/infer/task_score.h"

#include "infer/infer_testing.h"
#include "octavo/infer/paired.h"

namespace octavo {
namespace {

Task task_of(TaskMeasure measure, const std::vector<std::string>& groups) {
  Task task{"t", measure, TaskMean::items, {}};
  for (const std::string& group : groups)
    task.items.push_back({group, "c", {"\xC3\xA9\xC3\xA9", "four"}, 1, "f:1"});
  return task;
}

TEST(Judge, NormalizesByCharactersNotBytes) {
  const Task task = task_of(TaskMeasure::choice_normalized, {""});
  // -2/2 against -3.9/4: by bytes both choices have four and the first would win.
  const ItemScore s = judge(task, task.items[0], {{-2.0, false}, {-3.9, true}});
  EXPECT_EQ(s.choice, 0);
  EXPECT_EQ(s.choice_norm, 1);
  EXPECT_FALSE(s.correct);
  EXPECT_TRUE(s.correct_norm);
  EXPECT_FALSE(s.greedy);
  EXPECT_EQ(s.log_likelihood, (std::vector<double>{-2.0, -3.9}));
}
TEST(Judge, TheFirstOfEqualsIsTheAnswer) {
  const Task task = task_of(TaskMeasure::choice, {""});
  EXPECT_EQ(judge(task, task.items[0], {{-1, false}, {-1, false}}).choice, 0);
}
TEST(Judge, LastWord) {
  const Task task = task_of(TaskMeasure::last_word, {""});
  EXPECT_TRUE(judge(task, task.items[0], {{-1, true}}).correct);
  EXPECT_FALSE(judge(task, task.items[0], {{-0.1, false}}).correct);
}

std::vector<ItemScore> answers(const Task& task, const std::vector<int>& right) {
  std::vector<ItemScore> scores;
  for (size_t i = 0; i < right.size(); ++i)
    scores.push_back(judge(task, task.items[i], {{right[i] ? -2.0 : -1.0, false}, {-1.5, false}}));
  return scores;
}

TEST(Figures, AccuracyAndItsError) {
  const Task task = task_of(TaskMeasure::choice, {"", "", "", ""});
  const auto all = metrics(task, answers(task, {1, 0, 1, 1}));
  ASSERT_EQ(all.size(), 1u);
  const Figure f = figure(task, all[0]);
  EXPECT_DOUBLE_EQ(f.value, 0.75);
  EXPECT_NEAR(f.stderr_, std::sqrt(0.75 * 0.25 / 3), 1e-15);  // p (1 - p) / (n - 1)
}
TEST(Figures, GroupsWeighTheSameOrByTheirSize) {
  Task task = task_of(TaskMeasure::choice, {"a", "b", "b", "b"});
  const auto all = metrics(task, answers(task, {1, 0, 0, 1}));
  const auto ranges = item_ranges(task);
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[1].group, "b");
  EXPECT_EQ(ranges[1].first, 1u);
  EXPECT_EQ(ranges[1].count, 3u);
  EXPECT_DOUBLE_EQ(figure(all[0], ranges[1]).value, 1.0 / 3);
  EXPECT_DOUBLE_EQ(figure(task, all[0]).value, 0.5);
  task.mean = TaskMean::groups;
  const Figure f = figure(task, all[0]);
  EXPECT_DOUBLE_EQ(f.value, (1 + 1.0 / 3) / 2);
  EXPECT_NEAR(f.stderr_, figure(all[0], ranges[1]).stderr_ / 2, 1e-15);  // one item has no spread
}
TEST(Figures, Perplexity) {
  const Task task = task_of(TaskMeasure::last_word, {"", ""});
  const auto all =
      metrics(task, {judge(task, task.items[0], {{-1, true}}), judge(task, task.items[1], {{-3, false}})});
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].name, "perplexity");
  EXPECT_DOUBLE_EQ(figure(task, all[0]).value, 0.5);
  EXPECT_NEAR(figure(task, all[1]).value, std::exp(2.0), 1e-12);
  EXPECT_NEAR(figure(task, all[1]).stderr_, std::exp(2.0), 1e-12);  // the mean's error is 1
}
TEST(Figures, Flips) {
  const Task task = task_of(TaskMeasure::choice, {"", "", "", ""});
  const auto a = metrics(task, answers(task, {1, 0, 1, 1})), b = metrics(task, answers(task, {1, 1, 0, 0}));
  const Flips f = flips(a[0], b[0]);
  EXPECT_EQ(f.gained, 1);
  EXPECT_EQ(f.lost, 2);
  EXPECT_EQ(f.changed, 3);
}

double minus(double a, double b) { return b - a; }

PairedUnits normal_units(size_t n, double shift) {
  PairedUnits u;
  const Rng rng(11);
  for (size_t i = 0; i < n; ++i) {
    const double common = 5 * rng.normal(i);  // cancels, as the pairs are drawn together
    u.a.push_back(common);
    u.b.push_back(common + shift + rng.normal(n + i));
    u.weight.push_back(1);
  }
  return u;
}

TEST(PairedBootstrap, IsTheNormalIntervalWhereThatHolds) {
  const PairedUnits u = normal_units(400, 0.3);
  const Interval i = paired_bootstrap(u, minus, 4000, 1);
  double mean = 0, square = 0;
  for (size_t k = 0; k < 400; ++k) mean += (u.b[k] - u.a[k]) / 400;
  for (size_t k = 0; k < 400; ++k) square += std::pow(u.b[k] - u.a[k] - mean, 2) / 399;
  const double half = 1.96 * std::sqrt(square / 400);
  EXPECT_NEAR(i.difference, mean, 1e-12);
  EXPECT_NEAR(i.low, mean - half, 0.08 * half);
  EXPECT_NEAR(i.high, mean + half, 0.08 * half);
}
TEST(PairedBootstrap, TheSeedDecides) {
  const PairedUnits u = normal_units(50, 0);
  const Interval a = paired_bootstrap(u, minus, 300, 7), b = paired_bootstrap(u, minus, 300, 7),
                 c = paired_bootstrap(u, minus, 300, 8);
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_NE(a.low, c.low);
  EXPECT_EQ(a.difference, c.difference);
}
TEST(PairedBootstrap, EqualSidesDifferByNothing) {
  PairedUnits u = normal_units(30, 0);
  u.b = u.a;
  const Interval i = paired_bootstrap(u, minus, 200, 1);
  EXPECT_EQ(i.low, 0);
  EXPECT_EQ(i.high, 0);
}
TEST(PairedBootstrap, StrataKeepTheirSizesAndWeights) {
  // Each stratum is constant, so no resample can differ from the data.
  PairedUnits u{{0, 0, 0, 0}, {1, 5, 5, 5}, {1, 1, 1, 1}, {0, 1}, false};
  Interval i = paired_bootstrap(u, minus, 200, 1);
  EXPECT_DOUBLE_EQ(i.difference, 4);
  EXPECT_DOUBLE_EQ(i.low, 4);
  EXPECT_DOUBLE_EQ(i.high, 4);
  u.mean_of_strata = true;
  i = paired_bootstrap(u, minus, 200, 1);
  EXPECT_DOUBLE_EQ(i.difference, 3);
  EXPECT_DOUBLE_EQ(i.high, 3);
  u = {{0, 0}, {2, 9}, {1, 3}, {}, false};  // windows of 1 and 3 tokens
  EXPECT_DOUBLE_EQ(paired_bootstrap(u, minus, 10, 1).difference, 11.0 / 4);
}
TEST(McNemar, Exact) {
  EXPECT_DOUBLE_EQ(mcnemar(0, 0), 1);
  EXPECT_DOUBLE_EQ(mcnemar(3, 3), 1);
  EXPECT_NEAR(mcnemar(0, 5), 2 / 32.0, 1e-12);
  EXPECT_NEAR(mcnemar(8, 2), 2 * (1 + 10 + 45) / 1024.0, 1e-12);
  EXPECT_EQ(mcnemar(2, 8), mcnemar(8, 2));
}
TEST(Distribution, NearestRank) {
  std::vector<double> values;
  for (int i = 200; i > 0; --i) values.push_back(i);
  const Distribution d = distribution(values);
  EXPECT_DOUBLE_EQ(d.mean, 100.5);
  EXPECT_EQ(d.p99, 198);
  EXPECT_EQ(d.max, 200);
  EXPECT_EQ(distribution({4}).p99, 4);
}

}  // namespace
}  // namespace octavo
