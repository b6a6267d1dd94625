// SPDX-License-Identifier: Apache-2.0
// Each subcommand lives in its own file and adds itself to the command line here.
#pragma once
#include <CLI/CLI.hpp>
#include <atomic>
#include <optional>
#include <string>

namespace octavo {

void add_prepare(CLI::App& app);
void add_train(CLI::App& app);
void add_generate(CLI::App& app);
void add_eval(CLI::App& app);
void add_import(CLI::App& app);
void add_export(CLI::App& app);
void add_quantize(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_gradients(CLI::App& app);
void add_logits(CLI::App& app);
void add_bench(CLI::App& app);
void add_presets(CLI::App& app);
void add_recipes(CLI::App& app);
void add_report(CLI::App& app);
void add_compare(CLI::App& app);
void add_experiment(CLI::App& app);
void add_sweep(CLI::App& app);
void add_inspect(CLI::App& app);
void add_probe(CLI::App& app);
void add_balance(CLI::App& app);
void add_reduce(CLI::App& app);
void add_doctor(CLI::App& app);

/// Becomes true on the first SIGINT, SIGTERM or SIGUSR1; a second one of the first two ends the program at
/// once.
std::atomic<bool>& stop_requested();
/// Becomes true on SIGTERM: launchers end the rest of a job so, a moment before they kill it.
std::atomic<bool>& terminated();

/// Adds --exact and --no-exact; `value` stays empty without either. (A flag of the library would set it to
/// false.)
void add_exact_flags(CLI::App& command, std::optional<bool>& value, const std::string& help);

/// What main() returns when a command ended in good order but not with 0.
int& exit_status();

}  // namespace octavo
