// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <map>
#include <string>

#include "octavo/report/report.h"

namespace octavo {

/// The report as one JSON object on one line, the schema "octavo-report-1" of docs/report.md. Numbers are
/// rounded to what a plot shows; what is not finite is null. Names that are not UTF-8 have their wrong bytes
/// replaced. `more` are further keys with their values as JSON text, for panels of other rooms; text that is
/// not JSON throws bad_data.
std::string to_document(const Report& report, const std::map<std::string, std::string>& more = {});

}  // namespace octavo
