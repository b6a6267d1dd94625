// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/trainer.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/process.h"
#include "octavo/base/stopwatch.h"
#include "octavo/io/checkpoint_dir.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/tensorboard.h"
#include "octavo/kernels/peak.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/train/checkpoint.h"
#include "octavo/train/evaluation.h"
#include "octavo/train/optimizer.h"
#include "octavo/train/run_directory.h"
#include "octavo/train/schedule.h"
#include "octavo/train/training_data.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

/// Everything a run holds between its steps.
class Trainer {
 public:
  Trainer(const RunConfig& config, bool resume, TrainObserver& observer);
  TrainResult run(bool resume, const std::atomic<bool>& stop);
  TrainStart plan();

 private:
  void open(bool resume);
  TrainStart describe() const;
  GemmArgs one_gemm() const {
    return typical_gemm(model_config_, recipe_, config_.train.micro_batch * config_.data.sequence_length);
  }
  Limits limits() const {
    Limits limits;
    limits.batch = config_.train.micro_batch;
    limits.seq = config_.data.sequence_length;
    limits.kept = kept_state(config_, recipe_);
    limits.pack_weights = config_.train.pack_weights;
    limits.moments = optimizer_.moments();
    return limits;
  }
  void record_facts(const TrainStart& start, bool ended) const;
  uint64_t rounding_seed(int64_t index) const;
  StepReport step(int64_t index);
  LossSum micro_batches(int64_t index);
  void require_finite(const StepReport& report) const;
  void record(const StepReport& report);
  EvalReport evaluate(int64_t step, bool record);
  void checkpoint();

  RunConfig config_;
  TrainObserver& observer_;
  ThreadPool pool_;
  Recipe recipe_;
  TrainingData data_;
  ModelConfig model_config_;
  std::unique_ptr<Transformer> model_;
  Optimizer optimizer_;
  LossScaler loss_scaler_;
  RunDirectory run_;
  std::unique_ptr<EventFileWriter> events_;
  TrainState state_;
  std::string resumed_from_, last_checkpoint_;
  std::vector<std::string> warnings_;
  std::vector<int32_t> tokens_, targets_, positions_;
  double peak_ = 0, ideal_seconds_ = 0;
};

RunConfig checked(RunConfig config) {
  validate(config);
  return config;
}

Trainer::Trainer(const RunConfig& config, bool resume, TrainObserver& observer)
    : config_(checked(config)),
      observer_(observer),
      pool_(static_cast<int>(config_.threads)),
      // A run keeps the recipe it began with, whatever became of the file it came from.
      recipe_(load_recipe(resume ? config_.out + "/recipe.toml" : config_.recipe)),
      data_(config_),
      optimizer_(config_.optim),
      loss_scaler_(recipe_.loss) {
  model_config_ =
      config_.init.empty() ? model_config(config_, data_.vocab_size()) : read_hf_config(config_.init);
  if (data_.eos() >= 0 && model_config_.eos.empty()) {
    model_config_.eos = {data_.eos()};
    model_config_.bos = data_.eos();
  }
  if (config_.data.sequence_length == 0) config_.data.sequence_length = model_config_.context;
  if (config_.data.sequence_length > model_config_.context)
    fail_usage(fmt::format("data.sequence_length {} is more than the model's context {}",
                           config_.data.sequence_length, model_config_.context));
  data_.open(config_.data.sequence_length, static_cast<uint64_t>(config_.seed), model_config_.vocab_size);
  if (const SampleLoader::Fit& fit = data_.fit(); fit.cut > 0)
    warnings_.push_back(
        fmt::format("{} of {} examples are longer than the {} tokens of a sequence and were cut{}", fit.cut,
                    fit.examples, config_.data.sequence_length,
                    fit.lost > 0 ? fmt::format("; nothing that counts is left of {}", fit.lost) : ""));
  loss_scaler_ = LossScaler(
      recipe_.loss, config_.train.micro_batch * config_.train.grad_accum * config_.data.sequence_length,
      model_config_.width);
  model_ = std::make_unique<Transformer>(model_config_, recipe_, Purpose::training, pool_);
}

TrainStart Trainer::describe() const {
  TrainStart start;
  start.run = config_.out;
  start.model =
      fmt::format("{}, {} x {}, {:.2f}M parameters", to_string(model_config_.family), model_config_.layers,
                  model_config_.width, static_cast<double>(parameter_count(model_config_)) / 1e6);
  start.recipe = recipe_.name;
  start.memory = model_->memory().categories();
  start.first_step = state_.step;
  start.steps = config_.train.steps;
  start.tokens_per_step = config_.train.micro_batch * config_.train.grad_accum * config_.data.sequence_length;
  start.train_tokens = data_.train_tokens();
  const int64_t samples = config_.train.micro_batch * config_.train.grad_accum * config_.train.steps;
  start.epochs = static_cast<double>(samples) / static_cast<double>(data_.samples_per_epoch());
  if (data_.marked()) start.examples = data_.fit().examples;
  start.threads = pool_.size();
  start.gemm_variant = gemm_choice(one_gemm()).variant;
  start.peak_flops = peak_;
  start.resumed_from = resumed_from_;
  start.warnings = warnings_;
  start.step_flops =
      training_flops(model_config_, config_.train.micro_batch, config_.data.sequence_length).total() *
      static_cast<double>(config_.train.grad_accum);
  return start;
}

void Trainer::record_facts(const TrainStart& start, bool ended) const {
  RunFacts facts;
  facts.model = start.model;
  facts.parameters = parameter_count(model_config_);
  facts.gemm_variant = start.gemm_variant;
  facts.peak_flops = start.peak_flops;
  facts.memory = start.memory;
  if (ended) facts.peak_resident = peak_resident_bytes();
  run_.write_facts(facts);
}

TrainStart Trainer::plan() {
  model_->plan(limits());
  return describe();
}

void Trainer::open(bool resume) {
  const size_t rows = static_cast<size_t>(config_.train.micro_batch * config_.data.sequence_length);
  tokens_.resize(rows);
  targets_.resize(rows);
  positions_.resize(rows);
  for (size_t r = 0; r < rows; ++r)
    positions_[r] = static_cast<int32_t>(r % static_cast<size_t>(config_.data.sequence_length));

  // What can go wrong with files goes wrong before the directory of a new run exists.
  model_->allocate(limits());
  if (resume) {
    remove_stale_temporaries(config_.out);
    remove_stale_temporaries(config_.out + "/checkpoints");
    std::string skipped;
    const std::optional<std::string> newest = newest_checkpoint(config_.out, &skipped);
    if (!skipped.empty()) warnings_.push_back("skipped a damaged checkpoint: " + skipped);
    if (newest) {
      state_ = load_checkpoint(*newest, *model_);
      resumed_from_ = last_checkpoint_ = *newest;
    }
  }
  model_->pass().seed = rounding_seed(state_.step - 1);
  if (resumed_from_.empty()) {
    if (config_.init.empty())
      model_->initialize(static_cast<uint64_t>(config_.seed));
    else
      load_hf_weights(config_.init, *model_);
  }
  model_->requantize_weights();
  if (resume) set_aside_checkpoints_after(config_.out, state_.step);
  run_ = resume ? RunDirectory::reopen(config_, state_.step, pool_.size())
                : RunDirectory::create(config_, to_toml(recipe_), pool_.size());
  if (config_.log.tensorboard) events_ = std::make_unique<EventFileWriter>(config_.out + "/tb");

  PeakKind unit;
  if (gemm_peak_kind(one_gemm(), unit)) peak_ = peak_flops(unit, pool_);
  const ModelFlops flops =
      training_flops(model_config_, config_.train.micro_batch, config_.data.sequence_length);
  if (peak_ > 0) ideal_seconds_ = flops.total() * static_cast<double>(config_.train.grad_accum) / peak_;
}

LossSum Trainer::micro_batches(int64_t index) {
  const int64_t batch = config_.train.micro_batch, accum = config_.train.grad_accum,
                seq = config_.data.sequence_length;
  // The mean is over the targets of the whole step that count: a micro-batch with few of them weighs as much
  // as they are.
  const auto first = static_cast<uint64_t>(index * accum * batch);
  int64_t counted = 0;
  for (int64_t s = 0; s < accum * batch; ++s) counted += data_.counted(first + static_cast<uint64_t>(s));
  const float grad_scale = static_cast<float>(1.0 / static_cast<double>(counted)) *
                           static_cast<float>(loss_scaler_.scale(state_.loss_scale));
  LossSum total;
  for (int64_t micro = 0; micro < accum; ++micro) {
    for (int64_t b = 0; b < batch; ++b) {
      const uint64_t sample = first + static_cast<uint64_t>(micro * batch + b);
      data_.sample(sample, tokens_.data() + b * seq, targets_.data() + b * seq);
    }
    model_->pass().last_of_step = micro + 1 == accum;
    const LossSum sum =
        model_->train({batch, seq, tokens_.data(), positions_.data()}, targets_.data(), grad_scale);
    total.loss += sum.loss;
    total.tokens += sum.tokens;
    model_->pass().records = nullptr;  // the first micro-batch of a logged step speaks for it
  }
  return total;
}

/// Of step `index`; the weights of a new run are rounded as if by a step -1.
uint64_t Trainer::rounding_seed(int64_t index) const {
  return static_cast<uint64_t>(config_.seed) * 0x9E3779B97F4A7C15ull + static_cast<uint64_t>(index);
}

StepReport Trainer::step(int64_t index) {
  const Stopwatch watch;
  Pass& pass = model_->pass();
  pass.times = {};
  pass.seed = rounding_seed(index);
  pass.quantizations = 0;
  pass.scaler.clear_nonfinite();
  std::vector<TensorRecord> records;
  const bool log_tensors = config_.log.tensors_every > 0 && index % config_.log.tensors_every == 0;
  if (log_tensors) pass.records = &records;

  StepReport report;
  report.step = index + 1;
  report.steps = config_.train.steps;
  const double share = schedule(config_.optim, index, config_.train.steps);
  report.lr = config_.optim.lr * share;
  pass.run(Part::optimizer, [&](ThreadPool& pool) { model_->parameters().zero_gradients(pool); });
  const LossSum sum = micro_batches(index);
  report.counted = sum.tokens;
  report.loss = sum.loss / static_cast<double>(sum.tokens);
  report.loss_scale = loss_scaler_.scale(state_.loss_scale);
  report.grad_norm = optimizer_.gradient_norm(*model_, report.loss_scale);
  // A cast that saturates makes a number of an infinity, and no gradient behind it would tell.
  if (pass.scaler.nonfinite() > 0) report.grad_norm = std::numeric_limits<double>::infinity();
  // A loss that is not finite is no overflow of scaled gradients.
  report.skipped =
      std::isfinite(report.loss) && !loss_scaler_.accept(std::isfinite(report.grad_norm), state_.loss_scale);
  if (!report.skipped) require_finite(report);
  if (log_tensors) pass.records = &records;
  // The compute copies follow in either case: a resumed run rounds them as the last step did.
  if (report.skipped)
    model_->refresh_weights();
  else
    optimizer_.step(*model_, index + 1 - state_.loss_scale.skipped, share, report.grad_norm,
                    report.loss_scale);
  pass.records = nullptr;
  for (TensorRecord& record : records) {
    record.step = index + 1;
    run_.tensors.line(to_json(record));
  }

  state_.step = index + 1;
  state_.tokens += sum.tokens;
  report.seconds = watch.seconds();
  const int64_t read = config_.train.micro_batch * config_.train.grad_accum * config_.data.sequence_length;
  report.tokens_per_second = static_cast<double>(read) / report.seconds;
  report.speed_of_light = ideal_seconds_ / report.seconds;
  report.times = pass.times;
  double known = 0;
  for (const double seconds : report.times.seconds) known += seconds;
  report.times[Part::other] = report.seconds - known;
  report.log = report.step % config_.log.every == 0 || report.step == report.steps || index == 0;
  return report;
}

void Trainer::require_finite(const StepReport& report) const {
  if (std::isfinite(report.loss) && std::isfinite(report.grad_norm)) return;
  const std::string what = std::isfinite(report.loss) ? "gradient norm" : "loss";
  throw Diverged(
      report.step,
      fmt::format("step {}: the {} is {}; the run stops here, {}. Try a lower --lr, or the same run with "
                  "--recipe bf16 to tell numbers from "
                  "hyperparameters",
                  report.step, what, std::isfinite(report.loss) ? report.grad_norm : report.loss,
                  last_checkpoint_.empty() ? "no checkpoint was saved yet"
                                           : "the last good checkpoint is " + last_checkpoint_));
}

void Trainer::record(const StepReport& report) {
  nlohmann::ordered_json j;
  j["event"] = "step";
  j["step"] = report.step;
  j["tokens"] = state_.tokens;
  j["counted"] = report.counted;
  j["loss"] = report.loss;
  j["lr"] = report.lr;
  j["grad_norm"] = report.grad_norm;
  if (loss_scaler_.active()) {
    j["loss_scale"] = report.loss_scale;
    j["skipped"] = report.skipped;
  }
  j["tokens_per_second"] = report.tokens_per_second;
  j["ms"] = report.seconds * 1e3;
  j["speed_of_light"] = report.speed_of_light;
  if (config_.log.profile)
    for (int i = 0; i < kParts; ++i)
      j["profile_ms"][to_string(static_cast<Part>(i))] = report.times.seconds[static_cast<size_t>(i)] * 1e3;
  run_.metrics.line(j.dump());
  if (events_ && report.log) {
    events_->add_scalar("train/loss", report.step, static_cast<float>(report.loss));
    events_->add_scalar("train/grad_norm", report.step, static_cast<float>(report.grad_norm));
    events_->add_scalar("train/learning_rate", report.step, static_cast<float>(report.lr));
    events_->add_scalar("train/tokens_per_second", report.step, static_cast<float>(report.tokens_per_second));
  }
  if (report.log)
    run_.log.line(
        fmt::format("step {}/{}  loss {:.4f}  |g| {:.3f}  lr {:.2e}  {:.0f} tok/s  {:.1f} % of light",
                    report.step, report.steps, report.loss, report.grad_norm, report.lr,
                    report.tokens_per_second, report.speed_of_light * 100));
}

EvalReport Trainer::evaluate(int64_t step, bool record) {
  EvalReport report;
  report.step = step;
  if (!data_.has_validation()) return report;
  const LossSum sum =
      evaluate_loss(*model_, data_.validation(), config_.train.micro_batch, config_.eval.batches);
  report.tokens = sum.tokens;
  report.loss = sum.loss / static_cast<double>(sum.tokens);
  observer_.evaluated(report);
  if (!record) return report;
  nlohmann::ordered_json j;
  j["event"] = "eval";
  j["step"] = step;
  j["loss"] = report.loss;
  j["perplexity"] = std::exp(report.loss);
  j["tokens"] = report.tokens;
  run_.metrics.line(j.dump());
  run_.log.line(fmt::format("step {}  validation loss {:.4f}", step, report.loss));
  if (events_) events_->add_scalar("eval/loss", step, static_cast<float>(report.loss));
  return report;
}

void Trainer::checkpoint() {
  const std::string path = checkpoint_path(config_.out, state_.step);
  const bool saved = path == last_checkpoint_;
  if (!saved) save_checkpoint(path, *model_, state_, data_.tokenizer_path());
  last_checkpoint_ = path;
  prune_checkpoints(
      config_.out,
      config_.checkpoint.keep);  // also after a resume: the run may have died before it got to that
  if (!saved) observer_.checkpointed(path);
}

TrainResult Trainer::run(bool resume, const std::atomic<bool>& stop) {
  open(resume);
  const TrainStart start = describe();
  record_facts(start, false);
  observer_.start(start);
  const Stopwatch watch;
  const int64_t first = state_.step, last = config_.train.steps;
  TrainResult result;
  result.run = config_.out;
  for (int64_t index = first; index < last && !stop; ++index) {
    StepReport report = step(index);
    report.seconds_left =
        watch.seconds() / static_cast<double>(index + 1 - first) * static_cast<double>(last - index - 1);
    record(report);
    observer_.step(report);
    const int64_t done = index + 1;
    if (config_.eval.every > 0 && done % config_.eval.every == 0 && done < last) evaluate(done, true);
    if (config_.checkpoint.every > 0 && done % config_.checkpoint.every == 0 && done < last) checkpoint();
  }
  result.steps = state_.step;
  result.interrupted = state_.step < last;
  // Before the checkpoint, so that a run that dies in between does it again, and once there is one, its line
  // is written already.
  if (!result.interrupted) result.last_eval = evaluate(state_.step, first < last);
  checkpoint();
  if (!result.interrupted) {
    result.final_directory = config_.out + "/final";
    save_final(result.final_directory, *model_, data_.tokenizer_path());
  }
  record_facts(start, true);
  result.seconds = watch.seconds();
  return result;
}

}  // namespace

TrainResult train(RunConfig config, bool resume, TrainObserver& observer, const std::atomic<bool>& stop) {
  return Trainer(config, resume, observer).run(resume, stop);
}

TrainStart plan_training(RunConfig config) {
  TrainObserver silent;
  return Trainer(config, false, silent).plan();
}

}  // namespace octavo
