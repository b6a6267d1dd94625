// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <new>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/suggest.h"
#include "octavo/base/version.h"
#include "terminal.h"

namespace octavo {

std::atomic<bool>& stop_requested() {
  static std::atomic<bool> stop{false};
  return stop;
}

std::atomic<bool>& terminated() {
  static std::atomic<bool> told{false};
  return told;
}

int& exit_status() {
  static int status = 0;
  return status;
}

void add_exact_flags(CLI::App& command, std::optional<bool>& value, const std::string& help) {
  command.add_flag_callback(
      "--exact", [&value] { value = true; }, help);
  command.add_flag_callback(
      "--no-exact", [&value] { value = false; }, "Do not; faster token by token");
}

namespace {

extern "C" void on_signal(int signal) {
  if (signal == SIGTERM) terminated() = true;
  if (stop_requested().exchange(true) && signal != SIGUSR1) _exit(130);
}

const char* kFooter = R"(Examples:
  octavo prepare --input book.txt --vocab-size 4096 --out data/book
  octavo train --preset gpt-mini --train-data data/book --recipe fp8-amax --out runs/book
  octavo generate --model runs/book --prompt "In the beginning"
  octavo eval --model runs/book --data data/book --recipe bf16
  octavo report runs/book --out book.html
  octavo compare --recipes bf16,fp8-amax --preset gpt-mini --data book.txt --out labs/book
  octavo sweep book.txt --preset gpt-mini --x optim.lr=2^-10..2^-7 --curves model.width=64,128 --out sweeps/lr

Every command has --help with examples. Exit codes: 0 ok, 1 a check failed, 2 usage, 3 does not fit or
unsupported, 4 bad data, 5 a rank does not answer, 130 interrupted after saving.)";

// CLI11 lists everything that was left over, values included; name the word that is wrong and the one that
// was meant.
std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* command = &app;
  std::string path;
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().back();
    path += command->get_name() + " ";
  }
  std::vector<std::string> known;
  for (const CLI::Option* option : command->get_options())
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  const std::string help = fmt::format("; see octavo {}--help", path);
  if (command == &app && !app.remaining().empty() && !app.remaining().front().starts_with("-")) {
    std::vector<std::string> commands;
    for (const CLI::App* sub : app.get_subcommands({})) commands.push_back(sub->get_name());
    return fmt::format("unknown command '{}'{}", app.remaining().front(),
                       did_you_mean(app.remaining().front(), commands)) +
           help;
  }
  for (const std::string& word : app.remaining(true)) {
    const std::string flag = word.substr(0, word.find('='));
    if (flag.starts_with("--"))
      return fmt::format("unknown option '{}'{}", flag, did_you_mean(flag, known)) + help;
  }
  return error.what() + help;
}

int run(int argc, char** argv) {
  CLI::App app{"octavo trains, evaluates and runs language models in 8-bit floating point.", "octavo"};
  app.footer(kFooter);
  app.set_version_flag("--version", fmt::format("octavo {} ({}, {})", version(), commit(), compiler()));
  app.add_flag("-q,--quiet", quiet(), "Print errors and results only");
  app.require_subcommand(0, 1);
  app.fallthrough();
  add_prepare(app);
  add_train(app);
  add_generate(app);
  add_eval(app);
  add_import(app);
  add_export(app);
  add_quantize(app);
  add_tokenize(app);
  add_gradients(app);
  add_logits(app);
  add_presets(app);
  add_recipes(app);
  add_report(app);
  add_compare(app);
  add_experiment(app);
  add_sweep(app);
  add_inspect(app);
  add_probe(app);
  add_balance(app);
  add_reduce(app);
  add_bench(app);
  add_doctor(app);
  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) fmt::print("{}", app.help());
    return exit_status();
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    message("octavo: " + explain(app, error));
    return static_cast<int>(ExitCode::usage);
  }
}

}  // namespace
}  // namespace octavo

int main(int argc, char** argv) {
  using octavo::message;
  struct sigaction action {};
  action.sa_handler = octavo::on_signal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGUSR1, &action,
            nullptr);  // what schedulers and mpirun pass on before they take the machine away
  std::signal(SIGPIPE, SIG_DFL);
  try {
    return octavo::run(argc, argv);
  } catch (const octavo::Error& error) {
    octavo::quiet() = false;
    // Of an error that all ranks of a job see, one has the words.
    if (*error.what()) message(fmt::format("octavo: {}", error.what()));
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    message("octavo: out of memory; a smaller --micro-batch or sequence length needs less");
    return static_cast<int>(octavo::ExitCode::unsupported);
  } catch (const std::exception& error) {
    message(fmt::format("octavo: internal error: {}. Please report it with the command line", error.what()));
    return static_cast<int>(octavo::ExitCode::check_failed);
  }
}
