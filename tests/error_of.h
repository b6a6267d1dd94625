// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "octavo/base/error.h"

namespace octavo {

/// The message of the error `action` throws; "" when it throws none. Checks its code.
inline std::string error_of(const std::function<void()>& action, ExitCode code = ExitCode::bad_data) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    return error.what();
  }
  return "";
}

}  // namespace octavo
