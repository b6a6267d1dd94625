// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace octavo {

const char* version();   ///< "0.1.0"
const char* commit();    ///< abbreviated hash, with "-dirty" for a changed tree; "unknown" outside git
const char* compiler();  ///< "g++ 12.2.0"

}  // namespace octavo
