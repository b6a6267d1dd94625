// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "octavo/base/error.h"

namespace octavo {

/// The action fails in this way, and its message names all the words.
inline void expect_error(const std::function<void()>& action, ExitCode code,
                         const std::vector<std::string>& words) {
  try {
    action();
    ADD_FAILURE() << "no error; wanted one with " << words.front();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << "wants: " << word << "\n"
                                                                         << error.what();
  }
}

}  // namespace octavo
