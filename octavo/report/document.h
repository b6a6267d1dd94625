// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "octavo/report/report.h"

namespace octavo {

/// The report as one JSON object on one line, the schema "octavo-report-1" of docs/report.md. Numbers are
/// rounded to what a plot shows; what is not finite is null. Names that are not UTF-8 have their wrong bytes
/// replaced.
std::string to_document(const Report& report);

}  // namespace octavo
