// SPDX-License-Identifier: Apache-2.0
// The main plots of a report as pictures for papers: black on white, no script.
#pragma once
#include <map>
#include <string>

#include "octavo/report/report.h"

namespace octavo {

/// File name ("loss.svg", "scales-<run>.svg") to SVG. A plot without data is left out.
std::map<std::string, std::string> make_plots(const Report& report);

/// The colour of a run in plots; one that stands alone is no baseline.
std::string run_colour(const Report& report, size_t run);

// One picture each, for make_plots(). Empty without data.
/// Heat maps of log2(scale): a row a tensor, a column a logged step, one map for each class.
std::string plot_scales(const RunReport& run);
/// In the manner of the figures of arXiv:2309.17224: scaling bias over the steps, smallest, median, largest
/// over the layers; one small plot for each class and kind of layer.
std::string plot_bias(const RunReport& run);
/// Exponents of a tensor's values at the last step with histograms, before and after scaling, one row for
/// each class.
std::string plot_histogram(const Report& report, const RunReport& run);

}  // namespace octavo
