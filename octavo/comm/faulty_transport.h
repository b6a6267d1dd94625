// SPDX-License-Identifier: Apache-2.0
// Faults on order, for tests of whatever must survive or report them.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "octavo/comm/transport.h"

namespace octavo {

struct Fault {
  enum class Kind { delay, hang, exit, kill, flip };
  int rank = 0;
  int64_t at = 1;  ///< number of the exchange, the first after the greeting is 1
  Kind kind = Kind::delay;
  double seconds = 0;  ///< of a delay
};

/// "rank=1,at=12,kind=delay,seconds=0.5"; several with ';' between. Kinds: `delay`; `hang`, for ever; `exit`,
/// with code 3 and without a word to the others; `kill`, by SIGKILL; `flip`, one bit of what is received in
/// the first exchange from `at` on that receives anything. Throws usage with the word that is wrong.
std::vector<Fault> parse_faults(const std::string& text);

/// `inner` with those of the faults `text` that are for its rank.
std::unique_ptr<Transport> with_faults(std::unique_ptr<Transport> inner, const std::string& text);

}  // namespace octavo
