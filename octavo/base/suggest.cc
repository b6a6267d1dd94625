// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/suggest.h"

#include <algorithm>

namespace octavo {

int edit_distance(std::string_view a, std::string_view b) {
  const size_t n = a.size(), m = b.size();
  std::vector<std::vector<int>> d(n + 1, std::vector<int>(m + 1));
  for (size_t i = 0; i <= n; ++i) d[i][0] = static_cast<int>(i);
  for (size_t j = 0; j <= m; ++j) d[0][j] = static_cast<int>(j);
  for (size_t i = 1; i <= n; ++i) {
    for (size_t j = 1; j <= m; ++j) {
      const int change = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  }
  return d[n][m];
}

std::string nearest(std::string_view word, std::span<const std::string> known) {
  int best = std::max(2, static_cast<int>(word.size()) / 3) + 1;
  std::string result;
  for (const std::string& candidate : known) {
    int distance = edit_distance(word, candidate);
    // The beginning of a known word, or a longer part of it, is nearer than any misspelling.
    if (word.size() >= 2 && candidate.starts_with(word)) distance = 0;
    if (word.size() >= 4 && candidate.find(word) != std::string::npos) distance = std::min(distance, 1);
    if (distance < best || (distance == best && !result.empty() && candidate.size() < result.size())) {
      best = distance;
      result = candidate;
    }
  }
  return result;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  const std::string match = nearest(word, known);
  if (!match.empty()) return " (did you mean '" + match + "'?)";
  std::string list;
  for (const std::string& name : known) list += (list.empty() ? "" : ", ") + name;
  return known.empty() ? "" : "; known: " + list;
}

}  // namespace octavo
