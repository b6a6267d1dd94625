// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/process.h"
#include "octavo/comm/make_communicator.h"
#include "octavo/train/fingerprint.h"
#include "octavo/train/run_directory.h"
#include "octavo/train/trainer.h"
#include "terminal.h"

namespace octavo {
namespace {

// Flags are names for configuration keys, nothing more: value and type are checked where every key is.
struct Flag {
  const char* name;
  const char* key;
};
constexpr Flag kFlags[] = {{"--train-data", "data.train"},
                           {"--val-data", "data.val"},
                           {"--recipe", "recipe"},
                           {"--init", "init"},
                           {"--steps", "train.steps"},
                           {"--micro-batch", "train.micro_batch"},
                           {"--grad-accum", "train.grad_accum"},
                           {"--recompute", "train.recompute"},
                           {"--seq-len", "data.sequence_length"},
                           {"--packing", "data.packing"},
                           {"--optimizer", "optim.name"},
                           {"--base-width", "optim.base_width"},
                           {"--lr", "optim.lr"},
                           {"--min-lr", "optim.min_lr"},
                           {"--warmup-steps", "optim.warmup_steps"},
                           {"--schedule", "optim.schedule"},
                           {"--weight-decay", "optim.weight_decay"},
                           {"--grad-clip", "optim.clip"},
                           {"--logical-ranks", "parallel.logical_ranks"},
                           {"--zero", "parallel.zero"},
                           {"--deadline", "parallel.deadline"},
                           {"--recipe-set", "recipe_set"},
                           {"--seed", "seed"},
                           {"--threads", "threads"},
                           {"--eval-every", "eval.every"},
                           {"--eval-batches", "eval.batches"},
                           {"--save-every", "checkpoint.every"},
                           {"--keep", "checkpoint.keep"},
                           {"--log-every", "log.every"},
                           {"--log-tensors", "log.tensors_every"}};

struct Options {
  std::string preset, out, resume;
  std::vector<std::string> configs, settings;
  std::deque<std::vector<std::string>> flags;  // values of kFlags, in its order
  bool tensorboard = false, profile = false, dry_run = false, json = false;
  int processes = 1;  // of a dry run
};

void memory_table(const TrainStart& start) {
  double total = 0;
  message("memory");
  for (const auto& [name, bytes] : start.memory) {
    message(fmt::format("  {:<16} {:>11}", name, bytes_text(static_cast<double>(bytes))));
    total += static_cast<double>(bytes);
  }
  message(fmt::format("  {:<16} {:>11}", "total", bytes_text(total)));
}

/// Of several processes: what those with the least and the most have, as ZeRO divides whole tensors.
void memory_table(const std::vector<TrainStart>& starts) {
  const auto sum = [](const TrainStart& s) {
    size_t total = 0;
    for (const auto& [name, bytes] : s.memory) total += bytes;
    return total;
  };
  const auto row = [&](const std::string& name, auto value) {
    const auto [least, most] = std::minmax_element(
        starts.begin(), starts.end(), [&](const auto& a, const auto& b) { return value(a) < value(b); });
    message(fmt::format("  {:<22} {:>11} {:>11}", name, bytes_text(static_cast<double>(value(*least))),
                        bytes_text(static_cast<double>(value(*most)))));
  };
  message(fmt::format("{:<24} {:>11} {:>11}", fmt::format("each of {} processes", starts.size()), "least",
                      "most"));
  for (const auto& entry : starts.front().memory)
    row(entry.first, [&](const TrainStart& s) { return s.memory.at(entry.first); });
  row("total", sum);
  message("sends in a step");
  row("gradients", [](const TrainStart& s) { return s.traffic.weight_grad; });
  row("weights", [](const TrainStart& s) { return s.traffic.weight; });
  row("scales", [](const TrainStart& s) { return s.traffic.scale; });
}

class Console : public TrainObserver {
 public:
  explicit Console(bool profile) : profile_(profile) {}

  void start(const TrainStart& s) override {
    for (const std::string& warning : s.warnings) message("warning: " + warning);
    message(fmt::format("run      {}", s.run));
    message(fmt::format("model    {}", s.model));
    message(fmt::format("recipe   {} on {} threads, GEMM kernel {}, measured peak {:.0f} GFLOP/s", s.recipe,
                        s.threads, s.gemm_variant, s.peak_flops / 1e9));
    message(fmt::format("data     {} training tokens{}; {} tokens a step, {} steps = {:.1f} epochs",
                        short_number(static_cast<double>(s.train_tokens)),
                        s.examples > 0 ? fmt::format(" of {} examples", s.examples) : "", s.tokens_per_step,
                        s.steps, s.epochs));
    if (!s.resumed_from.empty()) message(fmt::format("resumed  {} (step {})", s.resumed_from, s.first_step));
    if (s.logical_ranks > 1)
      message(fmt::format(
          "ranks    {} on {} process{}, ZeRO {}; a step sends {} of gradients and {} of weights from "
          "this process",
          s.logical_ranks, s.processes, s.processes == 1 ? "" : "es", s.zero,
          bytes_text(static_cast<double>(s.traffic.weight_grad)),
          bytes_text(static_cast<double>(s.traffic.weight))));
    memory_table(s);
  }

  void step(const StepReport& r) override {
    const std::string line = fmt::format(
        "step {:>{}}/{}  loss {:.4f}  |g| {:.3f}  lr {:.2e}  {} tok/s  {:.0f} % of light  {} left", r.step,
        std::to_string(r.steps).size(), r.steps, r.loss, r.grad_norm, r.lr, short_number(r.tokens_per_second),
        r.speed_of_light * 100, duration(r.seconds_left));
    for (int i = 0; i < kParts; ++i)
      times_.seconds[static_cast<size_t>(i)] += r.times.seconds[static_cast<size_t>(i)];
    seconds_ += r.seconds;
    if (r.log)
      message(line);
    else
      status(line);
    if (profile_ && r.log) profile_line();
  }
  void evaluated(const EvalReport& r) override {
    message(
        fmt::format("step {}  validation loss {:.4f}  perplexity {:.2f}", r.step, r.loss, std::exp(r.loss)));
  }
  void checkpointed(const std::string& path) override { message("saved    " + path); }

 private:
  void profile_line() {
    std::string text = "         ";
    for (int i = 0; i < kParts; ++i)
      text += fmt::format("{} {:.1f} %  ", to_string(static_cast<Part>(i)),
                          100 * times_.seconds[static_cast<size_t>(i)] / seconds_);
    message(text);
    times_ = {};
    seconds_ = 0;
  }
  bool profile_;
  StepTimes times_;
  double seconds_ = 0;
};

/// The run's recipe is in its directory, its ranks in its checkpoints: other words for them would change
/// nothing, or what a step is.
void keep_what_began(const RunConfig& began, const RunConfig& config) {
  const auto refuse = [](const char* key) {
    fail_usage(
        fmt::format("a resumed run keeps its '{}'; leave that away, or start a new run with --init", key));
  };
  if (config.recipe != began.recipe) refuse("recipe");
  if (config.recipe_set != began.recipe_set) refuse("recipe_set");
  if (config.init != began.init) refuse("init");
  if (config.parallel.logical_ranks != began.parallel.logical_ranks) refuse("parallel.logical_ranks");
}

/// --set and the named flags.
void apply_words(RunConfig& config, const Options& o) {
  for (const std::string& setting : o.settings) apply_setting(config, setting);
  for (size_t i = 0; i < std::size(kFlags); ++i) {
    if (o.flags[i].empty()) continue;
    std::string value = o.flags[i][0];
    const std::string key = kFlags[i].key;
    if (key == "data.train" || key == "data.val" || key == "train.recompute" || key == "recipe_set") {
      value = "[";
      for (const std::string& path : o.flags[i])
        value += (value.size() > 1 ? "," : "") +
                 nlohmann::json(path).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
      value += "]";
    }
    apply_setting(config, key + "=" + value, kFlags[i].name);
  }
}

RunConfig resolve(const Options& o) {
  RunConfig config;
  if (!o.resume.empty()) {
    const std::string path = o.resume + "/config.toml";
    if (!std::filesystem::exists(path))
      fail_data(fmt::format("cannot resume '{}': there is no config.toml in it", o.resume));
    apply_toml(config, read_file(path), path);
    config.out = o.resume;
  } else if (!o.preset.empty()) {
    config = load_preset(o.preset);
  }
  const RunConfig began = config;
  for (const std::string& path : o.configs) apply_toml(config, read_file(path), path);
  apply_words(config, o);
  if (o.tensorboard) config.log.tensorboard = true;
  if (o.profile) config.log.profile = true;
  if (!o.resume.empty()) keep_what_began(began, config);
  if (!o.out.empty()) config.out = o.out;
  if (config.out.empty()) config.out = default_run_name(config);
  return config;
}

void finish(const Options& o, const TrainResult& result) {
  message(fmt::format("peak resident memory {}", bytes_text(static_cast<double>(peak_resident_bytes()))));
  if (result.interrupted) {
    message(fmt::format("interrupted after step {}; continue with: octavo train --resume {}", result.steps,
                        result.run));
    exit_status() = static_cast<int>(ExitCode::interrupted);
  }
  nlohmann::ordered_json j;
  j["run"] = result.run;
  j["steps"] = result.steps;
  j["interrupted"] = result.interrupted;
  j["seconds"] = result.seconds;
  if (result.last_eval.tokens > 0) {
    j["val_loss"] = result.last_eval.loss;
    j["val_perplexity"] = std::exp(result.last_eval.loss);
  }
  if (!result.final_directory.empty()) j["model"] = result.final_directory;
  if (o.json) {
    fmt::print("{}\n", j.dump());
  } else if (!result.interrupted) {
    if (result.last_eval.tokens > 0)
      fmt::print("validation loss  {:.4f} (perplexity {:.2f})\n", result.last_eval.loss,
                 std::exp(result.last_eval.loss));
    fmt::print("model            {}\n", result.final_directory);
  }
}

/// The configuration of a resumed run, which the first process alone may have.
RunConfig resolve_together(const Options& o, CommThread& comm) {
  if (o.resume.empty()) return resolve(o);
  RunConfig config;
  std::string text;
  if (comm.rank() == 0) text = to_toml(resolve(o));
  text = shared_text(comm, text);
  apply_toml(config, text, o.resume + "/config.toml");
  return config;
}

/// As many ranks as there are processes now; written into the run, so that it keeps them on other numbers of
/// processes.
void settle_ranks(RunConfig& config, int processes) {
  if (config.parallel.logical_ranks == 0) config.parallel.logical_ranks = processes;
}

/// As one of the processes that a launcher started.
void run_together(const Options& o) {
  CommOptions options;
  options.stop = &terminated();
  RunConfig here;
  if (o.resume.empty() || std::filesystem::exists(o.resume + "/config.toml"))
    here = resolve(o);
  else
    apply_words(here, o);  // the run is with the first process
  options.deadline = here.parallel.deadline;
  CommThread comm([&] { return make_communicator(options); });
  if (comm.rank() > 0) quiet() = true;
  try {
    // What follows would not even be the same exchanges.
    compare_fingerprints(comm, {{"the command", o.resume.empty() ? "a new run" : "--resume"}});
    RunConfig config = resolve_together(o, comm);
    settle_ranks(config, comm.size());
    Console console(config.log.profile);
    const TrainResult result = train(config, !o.resume.empty(), console, stop_requested(), &comm);
    if (comm.rank() == 0)
      finish(o, result);
    else if (result.interrupted)
      exit_status() = static_cast<int>(ExitCode::interrupted);
  } catch (const Diverged& error) {  // all ranks saw it
    if (comm.rank() == 0) message(fmt::format("octavo: {}", error.what()));
    exit_status() = static_cast<int>(error.code());
  } catch (const Error& error) {
    if (!*error.what()) {
      exit_status() = static_cast<int>(error.code());
      return;
    }
    comm.abort(static_cast<int>(error.code()), error.what());
  } catch (const std::bad_alloc&) {
    comm.abort(static_cast<int>(ExitCode::unsupported),
               "out of memory; a smaller --micro-batch, or --zero 3, needs less");
  } catch (const std::exception& error) {
    comm.abort(static_cast<int>(ExitCode::check_failed), fmt::format("internal error: {}", error.what()));
  }
}

void run(const Options& o) {
  if (o.preset.empty() && o.configs.empty() && o.settings.empty() && o.resume.empty() && o.flags[3].empty())
    fail_usage(
        "say what to train: --preset NAME (octavo presets lists them), --config FILE, --init DIR or --resume "
        "RUN");
  if (!o.resume.empty() && !o.preset.empty())
    fail_usage("--resume takes the model from the run; leave --preset away");
  if (!o.resume.empty() && !o.out.empty())
    fail_usage("--resume continues in the run's own directory; leave --out away");
  if (o.dry_run) {
    RunConfig config = resolve(o);
    if (o.processes > 1) settle_ranks(config, o.processes);
    const std::vector<TrainStart> starts = plan_training(config, o.processes);
    message(fmt::format("model    {}", starts.front().model));
    if (starts.size() == 1)
      memory_table(starts.front());
    else
      memory_table(starts);
    fmt::print("{}", to_toml(config));
    return;
  }
  if (o.processes != 1)
    fail_usage(
        "--processes is of --dry-run; processes that train are started by mpirun (docs/distributed.md)");
  if (engine_of_environment(std::getenv) == Engine::self) {
    RunConfig config = resolve(o);
    settle_ranks(config, 1);
    Console console(config.log.profile);
    finish(o, train(config, !o.resume.empty(), console, stop_requested()));
    return;
  }
  run_together(o);
}

}  // namespace

void add_train(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand("train", "Train a model, or continue a run");
  c->add_option("--preset", o->preset, "Model and hyperparameters to start from (octavo presets)");
  c->add_option("--config", o->configs, "TOML file over the preset; may be repeated")
      ->allow_extra_args(false);
  c->add_option("--set", o->settings, "key=value over the files, for instance optim.lr=3e-4; may be repeated")
      ->allow_extra_args(false);
  c->add_option("--out", o->out, "Run directory (default: runs/<time>-<preset>-<recipe>)");
  c->add_option("--resume", o->resume, "Continue this run from its newest checkpoint");
  o->flags.resize(std::size(kFlags));
  const std::vector<ConfigKey> keys = config_keys(RunConfig());
  for (size_t i = 0; i < std::size(kFlags); ++i) {
    const auto key =
        std::find_if(keys.begin(), keys.end(), [&](const ConfigKey& k) { return k.key == kFlags[i].key; });
    std::string name = kFlags[i].name;
    if (name == "--lr") name = "--lr,--learning-rate";
    if (name == "--micro-batch") name = "--micro-batch,--batch-size";
    if (name == "--steps") name = "--steps,--max-steps";
    CLI::Option* option = c->add_option(name, o->flags[i], key->help + " [" + key->key + "]");
    if (key->type != "list of text") option->expected(1)->take_last();
    option->type_name(key->type == "text" || key->type == "list of text" ? "TEXT" : "NUMBER");
  }
  c->add_flag("--tensorboard", o->tensorboard, "Write TensorBoard events into RUN/tb");
  c->add_flag("--profile", o->profile, "Show where the time of a step goes");
  c->add_flag("--dry-run", o->dry_run, "Print the memory table and the resolved configuration, and stop");
  c->add_option("--processes", o->processes, "With --dry-run: memory and traffic of so many processes")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  c->add_flag("--json", o->json, "Print the result as one JSON object");
  c->footer(
      "Precedence: preset < --config < --set < flags. SIGINT and SIGTERM save a checkpoint first;\n"
      "of several ranks only SIGUSR1 does, sent to mpirun.\n"
      "Examples:\n"
      "  octavo train --preset gpt-mini --train-data data/book --out runs/a\n"
      "  octavo train --preset llama-mini --train-data data/book --recipe bf16 --steps 200 --seed 2\n"
      "  octavo train --init MODEL --train-data data/alpaca --lr 2e-5 --packing single --out runs/tuned\n"
      "  octavo train --resume runs/a\n"
      "  mpirun -n 4 octavo train --preset gpt-mini --train-data data/book --zero 1 --out runs/b\n"
      "  octavo train --preset fp8-lm-7b --train-data data/book --recipe fp8-lm-o3 --zero 1 --dry-run "
      "--processes "
      "32");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
