// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include <algorithm>

#include "octavo/lab/result.h"
#include "octavo/report/document.h"
#include "octavo/report/page.h"

namespace octavo {
namespace {

/// The rows drawn in detail: the baseline first, then the others, thinned evenly with both ends kept.
std::vector<size_t> rows_on_page(const LabPlan& plan) {
  std::vector<size_t> others, out{plan.baseline};
  for (size_t r = 0; r < plan.rows.values.size(); ++r)
    if (r != plan.baseline) others.push_back(r);
  const size_t room = std::min(others.size(), kRunsOnPage - 1);
  for (size_t i = 0; i < room; ++i)
    out.push_back(others[room == 1 ? 0 : i * (others.size() - 1) / (room - 1)]);
  return out;
}

/// The document of results.json, with what only this page knows.
std::string lab_document(const LabResult& result, size_t shown, const std::vector<std::string>& files,
                         size_t detailed) {
  nlohmann::ordered_json lab = nlohmann::ordered_json::parse(to_json(result));
  lab["shown_group"] = shown;
  lab["pages"] = files;
  lab["detailed_rows"] = detailed;
  return lab.dump();
}

/// The page of a sweep has its panel alone: what a run did inside is for octavo report.
std::string sweep_page(const LabResult& result) {
  nlohmann::ordered_json lab = nlohmann::ordered_json::parse(to_json(result));
  lab.erase("groups");  // the sweep holds what is drawn
  Report report;
  report.version = result.version;
  report.created = result.created;
  return make_page(result.plan.name + " · octavo sweep", to_document(report, {{"lab", lab.dump()}}));
}

}  // namespace

std::map<std::string, std::string> make_pages(const LabResult& result, const std::string& directory) {
  if (result.plan.sweep) return {{"report.html", sweep_page(result)}};
  std::vector<std::string> files;
  for (const GroupResult& group : result.groups) {
    std::string name = files.empty() ? "report.html" : "report-" + file_word(group.point.label) + ".html";
    // Labels that differ only in what a file name cannot hold.
    while (std::find(files.begin(), files.end(), name) != files.end()) name.insert(name.size() - 5, "_");
    files.push_back(std::move(name));
  }
  const std::vector<size_t> rows = rows_on_page(result.plan);
  std::map<std::string, std::string> pages;
  for (size_t g = 0; g < result.groups.size(); ++g) {
    std::vector<RunData> runs;
    for (const size_t r : rows) {
      const std::string& run = result.groups[g].rows[r].trials.front().run;
      runs.push_back(read_run(directory + "/" + run));
    }
    const Report report = make_report(std::move(runs), 0);
    const std::string lab = lab_document(result, g, files, rows.size());
    const std::string& label = result.groups[g].point.label;
    pages[files[g]] = make_page(result.plan.name + (label.empty() ? "" : ", " + label) + " · octavo report",
                                to_document(report, {{"lab", lab}}));
  }
  return pages;
}

}  // namespace octavo
