// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/error.h"

#include <cerrno>
#include <cstring>

namespace octavo {

void fail_usage(const std::string& message) { throw Error(ExitCode::usage, message); }
void fail_unsupported(const std::string& message) { throw Error(ExitCode::unsupported, message); }
void fail_data(const std::string& message) { throw Error(ExitCode::bad_data, message); }

void fail_errno(const std::string& action, const std::string& path) {
  const int code = errno;
  throw Error(ExitCode::bad_data, action + " '" + path + "': " + std::strerror(code));
}

}  // namespace octavo
