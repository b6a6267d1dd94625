// SPDX-License-Identifier: Apache-2.0
// Axes in short: "optim.lr=2^-11..2^-6", "model.width=32,64;model.heads=2,4".
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "octavo/lab/plan.h"

namespace octavo {

/// Every key of a run, in the order of docs/run-config.md.
const std::vector<std::string>& run_keys();

/// What a key of a run takes.
enum class KeyType { unknown, whole, number, other };
KeyType key_type(const std::string& key);

/// The places on axis `key` that one value stands for: a power "2^-9" or all powers "2^-11..2^-6" of a key
/// that takes numbers, else the value as it is. Powers are called "2^-9"; their settings are plain numbers.
/// Exponents of a range are whole; one alone may be "2^-9.5". Throws usage, `source` first, when a range runs
/// down or a power does not fit the key.
std::vector<AxisValue> expand_value(const std::string& key, const std::string& value,
                                    const std::string& source);

/// "KEY=VALUE,VALUE" or several of these with ';' between, which move together: the first gives name and
/// labels, all have as many values. Throws usage on keys that are no axis, on empty and on equal values.
Axis parse_axis(const std::string& text, const std::string& source);

/// A setting's value as a number; nothing when it is none.
std::optional<double> number_in(const Setting& setting);
/// Where a value lies on an axis that is a key of numbers; nothing on any other axis.
std::optional<double> axis_number(const Axis& axis, const AxisValue& value);

}  // namespace octavo
