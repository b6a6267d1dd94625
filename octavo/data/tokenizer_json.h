// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "octavo/data/tokenizer.h"

namespace octavo {

/// Fills bos/eos of a vocabulary, where not yet known, from `directory`/tokenizer_config.json, else from the
/// names in common use.
void find_text_ends(Vocabulary& vocabulary, const std::string& directory);

}  // namespace octavo
