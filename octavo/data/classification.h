// SPDX-License-Identifier: Apache-2.0
// Classification as language modelling: the model is asked for one of a few words, one for each class
// (Schick and Schütze, arXiv:2001.07676, call such words verbalizers).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/data/examples.h"

namespace octavo {

struct LabelledText {
  std::string text;  ///< without white space at its ends
  int64_t label = 0;
  std::string place;  ///< "file:line"
};

/// The defaults are those of SST-2 (Gao, Fisch and Chen, arXiv:2012.15723, table 1).
struct Verbalization {
  std::string prompt = "{text} It was";                            ///< {text} stands for the text
  std::vector<std::string> verbalizers = {" terrible", " great"};  ///< follow the prompt; by label
};

/// Tab-separated values with a header that names the columns. Labels are 0 to classes - 1. Throws bad_data
/// naming file and line: no such column, a row with other fields than the header, an empty text, a bad label.
std::vector<LabelledText> parse_labelled(std::string_view text, const std::string& source, int64_t classes,
                                         const std::string& text_column = "sentence",
                                         const std::string& label_column = "label");

/// The prompt with its text filled in. Throws usage unless {text} is there exactly once.
std::string fill_prompt(const std::string& prompt, const std::string& text);

/// Prompt and verbalizer; only the verbalizer counts, not the end of text behind it.
Example verbalize(const LabelledText& item, const Verbalization& how);

}  // namespace octavo
