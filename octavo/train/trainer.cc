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
#include "octavo/comm/make_communicator.h"
#include "octavo/io/checkpoint_dir.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/tensorboard.h"
#include "octavo/kernels/peak.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/train/checkpoint.h"
#include "octavo/train/data_parallel.h"
#include "octavo/train/evaluation.h"
#include "octavo/train/fingerprint.h"
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
  Trainer(const RunConfig& config, bool resume, TrainObserver& observer, CommThread* comm);
  TrainResult run(bool resume, const std::atomic<bool>& stop);
  /// Of each of so many processes.
  std::vector<TrainStart> plan(int processes);

 private:
  void make_model(int processes, int process);
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
    limits.state = parallel_->layout();
    return limits;
  }
  const Ranks& ranks() const { return parallel_->ranks(); }
  bool first_process() const { return parallel_->has_files(); }
  /// Sequences a step.
  int64_t samples() const { return config_.train.micro_batch * config_.train.grad_accum * ranks().logical; }
  int64_t tokens_a_step() const { return samples() * config_.data.sequence_length; }
  void record_facts(const TrainStart& start, bool ended) const;
  uint64_t rounding_seed(int64_t index) const;
  StepReport step(int64_t index);
  float gradient_scale(int64_t index);
  LossSum micro_batch(int64_t index, int rank, int64_t micro, float scale);
  LossSum backward_passes(int64_t index);
  void adapt_scales();
  void require_finite(const StepReport& report) const;
  void record(const StepReport& report);
  EvalReport evaluate(int64_t step, bool record);
  void checkpoint();

  RunConfig config_;
  TrainObserver& observer_;
  std::unique_ptr<CommThread> alone_;
  CommThread& comm_;
  ThreadPool pool_;
  Recipe recipe_;
  TrainingData data_;
  ModelConfig model_config_;
  std::unique_ptr<Transformer> model_;
  Optimizer optimizer_;
  LossScaler loss_scaler_;
  std::unique_ptr<DataParallel> parallel_;
  std::vector<RankRecord> records_;  // of all ranks, of the last step
  RunDirectory run_;
  std::unique_ptr<EventFileWriter> events_;
  TrainState state_;
  std::string resumed_from_, last_checkpoint_;
  std::vector<std::string> warnings_;
  std::vector<int32_t> tokens_, targets_, positions_;
  double peak_ = 0, ideal_seconds_ = 0;
  bool told_to_stop_ = false;
  const std::atomic<bool>* stop_ = nullptr;
};

RunConfig checked(RunConfig config) {
  validate(config);
  return config;
}

Trainer::Trainer(const RunConfig& config, bool resume, TrainObserver& observer, CommThread* comm)
    : config_(checked(config)),
      observer_(observer),
      alone_(comm ? nullptr : std::make_unique<CommThread>(self_communicator)),
      comm_(comm ? *comm : *alone_),
      pool_(static_cast<int>(config_.threads)),
      // A run keeps the recipe it began with, whatever became of the file it came from.
      recipe_(resume
                  ? parse_recipe(
                        shared_text(comm_, comm_.rank() == 0 ? read_file(config_.out + "/recipe.toml") : ""),
                        config_.out + "/recipe.toml")
                  : load_recipe(config_.recipe, config_.recipe_set)),
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
  if (config_.parallel.zero == 3 && config_.train.pack_weights)
    fail_usage("train.pack_weights keeps weights that parallel.zero 3 divides; leave one of them away");
  make_model(comm_.size(), comm_.rank());
  loss_scaler_ = LossScaler(recipe_.loss, tokens_a_step(), model_config_.width);
  compare_fingerprints(comm_, fingerprint(config_, recipe_, model_config_, data_));
}

void Trainer::make_model(int processes, int process) {
  parallel_.reset();  // it refers to the model
  model_ = std::make_unique<Transformer>(model_config_, recipe_, Purpose::training, pool_);
  parallel_ =
      std::make_unique<DataParallel>(*model_, make_ranks(config_.parallel.logical_ranks, processes, process),
                                     config_.parallel, optimizer_.moments(), comm_);
}

TrainStart Trainer::describe() const {
  TrainStart start;
  start.run = config_.out;
  start.model =
      fmt::format("{}, {} x {}, {:.2f}M parameters", to_string(model_config_.family), model_config_.layers,
                  model_config_.width, static_cast<double>(parameter_count(model_config_)) / 1e6);
  start.recipe = recipe_.name;
  start.memory = model_->memory().categories();
  if (parallel_->buffer_bytes() > 0) start.memory["communication"] = parallel_->buffer_bytes();
  start.processes = ranks().processes;
  start.logical_ranks = ranks().logical;
  start.zero = parallel_->zero();
  start.traffic = parallel_->planned_traffic(config_.train.grad_accum);
  start.first_step = state_.step;
  start.steps = config_.train.steps;
  start.tokens_per_step = tokens_a_step();
  start.train_tokens = data_.train_tokens();
  start.epochs =
      static_cast<double>(samples() * config_.train.steps) / static_cast<double>(data_.samples_per_epoch());
  if (data_.marked()) start.examples = data_.fit().examples;
  start.threads = pool_.size();
  start.gemm_variant = gemm_choice(one_gemm()).variant;
  start.peak_flops = peak_;
  start.resumed_from = resumed_from_;
  start.warnings = warnings_;
  start.step_flops =
      training_flops(model_config_, config_.train.micro_batch, config_.data.sequence_length).total() *
      static_cast<double>(config_.train.grad_accum * ranks().logical);
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

std::vector<TrainStart> Trainer::plan(int processes) {
  std::vector<TrainStart> out;
  for (int process = 0; process < processes; ++process) {
    make_model(processes, process);
    model_->plan(limits());
    parallel_->plan();
    out.push_back(describe());
  }
  return out;
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
  parallel_->bind();
  if (ranks().logical > 1) model_->scaler().keep_journal();
  if (parallel_->layout().sharded_weights)
    model_->pass().before_block = [this](int block, int next) { parallel_->need_block(block, next); };
  if (resume) {
    std::string newest;
    if (first_process()) {
      remove_stale_temporaries(config_.out);
      remove_stale_temporaries(config_.out + "/checkpoints");
      std::string skipped;
      newest = newest_checkpoint(config_.out, &skipped).value_or("");
      if (!skipped.empty()) warnings_.push_back("skipped a damaged checkpoint: " + skipped);
    }
    newest = shared_text(comm_, newest);
    if (!newest.empty()) {
      state_ = load_checkpoint(newest, *model_, *parallel_);
      resumed_from_ = last_checkpoint_ = newest;
    }
  }
  model_->pass().seed = rounding_seed(state_.step - 1);
  if (resumed_from_.empty()) {
    if (config_.init.empty())
      model_->initialize(static_cast<uint64_t>(config_.seed));
    else
      load_initial(config_.init, *model_, *parallel_);
  }
  parallel_->restore_weights();
  if (first_process()) {
    if (resume) set_aside_checkpoints_after(config_.out, state_.step);
    run_ = resume ? RunDirectory::reopen(config_, state_.step, pool_.size())
                  : RunDirectory::create(config_, to_toml(recipe_), pool_.size());
    if (config_.log.tensorboard) events_ = std::make_unique<EventFileWriter>(config_.out + "/tb");
  }

  PeakKind unit;
  if (gemm_peak_kind(one_gemm(), unit)) peak_ = peak_flops(unit, pool_);
  const ModelFlops flops =
      training_flops(model_config_, config_.train.micro_batch, config_.data.sequence_length);
  if (peak_ > 0)
    ideal_seconds_ = flops.total() * static_cast<double>(config_.train.grad_accum * ranks().local()) / peak_;
}

/// What the losses of a step are multiplied with. Their mean is over the targets of all ranks that count: a
/// micro-batch with few of them weighs as much as they are.
float Trainer::gradient_scale(int64_t index) {
  const auto first = static_cast<uint64_t>(index * samples());
  int64_t counted = 0;
  for (int64_t s = 0; s < samples(); ++s) counted += data_.counted(first + static_cast<uint64_t>(s));
  return static_cast<float>(1.0 / static_cast<double>(counted)) *
         static_cast<float>(loss_scaler_.scale(state_.loss_scale, index));
}

/// Forward and backward pass of one micro-batch of one rank.
LossSum Trainer::micro_batch(int64_t index, int rank, int64_t micro, float scale) {
  const int64_t batch = config_.train.micro_batch, accum = config_.train.grad_accum,
                seq = config_.data.sequence_length;
  const auto first = static_cast<uint64_t>(index * samples() + (rank * accum + micro) * batch);
  for (int64_t b = 0; b < batch; ++b)
    data_.sample(first + static_cast<uint64_t>(b), tokens_.data() + b * seq, targets_.data() + b * seq);
  Pass& pass = model_->pass();
  const bool last = micro + 1 == accum;
  pass.last_of_step = last && ranks().logical == 1;  // of several ranks nobody asks for one's norm
  // With the last rank of this process, the gradients of all of them are there to be summed.
  if (ranks().logical > 1 && (last || parallel_->zero() > 1) && rank + 1 == ranks().first() + ranks().local())
    pass.on_gradients = [this](size_t parameter) { parallel_->gradients_complete(parameter); };
  const LossSum sum = model_->train({batch, seq, tokens_.data(), positions_.data()}, targets_.data(), scale);
  pass.on_gradients = nullptr;
  pass.records = nullptr;  // the first micro-batch of a logged step speaks for it
  return sum;
}

/// Gradients of all ranks of this process. What all ranks have to say is in records_.
LossSum Trainer::backward_passes(int64_t index) {
  Pass& pass = model_->pass();
  Scaler& scaler = pass.scaler;
  const float scale = gradient_scale(index);
  const int64_t accum = config_.train.grad_accum;
  const size_t local = static_cast<size_t>(ranks().local());
  const bool several = ranks().logical > 1;
  const std::vector<Scaler::Memory> before = several ? scaler.snapshot() : std::vector<Scaler::Memory>();
  std::vector<std::vector<Scaler::Memory>> memories(several ? local : 0, before);
  std::vector<uint64_t> draws(local);
  std::vector<RankRecord> own(local);
  const auto run = [&](size_t r, int64_t micro, bool fresh) {
    const int rank = ranks().first() + static_cast<int>(r);
    if (several) {
      scaler.restore(memories[r]);
      model_->parameters().use_replica(static_cast<int64_t>(r));
    }
    scaler.clear_nonfinite();
    pass.quantizations = draws[r];
    if (fresh)
      pass.run(Part::optimizer, [&](ThreadPool& pool) { model_->parameters().zero_gradients(pool); });
    RankRecord& record = own[r];
    const LossSum sum = micro_batch(index, rank, micro, scale);
    record.sum.loss += sum.loss;
    record.sum.tokens += sum.tokens;
    record.nonfinite += scaler.nonfinite();
    draws[r] = pass.quantizations;
    if (!several) return;
    const std::vector<Scaler::Observation> seen = scaler.take_journal();
    record.journal.insert(record.journal.end(), seen.begin(), seen.end());
    memories[r] = scaler.snapshot();
    // A gradient that is kept over micro-batches tells of all of them with the last.
    record.saturated.resize(model_->parameters().all().size());
    for (size_t i = 0; const Parameter& p : model_->parameters().all()) {
      float& most = record.saturated[i++];
      const float now = static_cast<float>(p.grad_saturated);
      most = parallel_->zero() > 1 ? std::max(most, now) : now;
    }
  };
  parallel_->begin_step(index + 1);
  scaler.take_journal();  // what evaluations and updates saw is no replica's alone
  for (size_t r = 0; r < local; ++r) draws[r] = (static_cast<uint64_t>(ranks().first()) + r) << 24;
  if (parallel_->zero() > 1) {  // sums over ranks after each micro-batch
    for (int64_t micro = 0; micro < accum; ++micro) {
      parallel_->begin_micro_batch(micro);
      for (size_t r = 0; r < local; ++r) run(r, micro, true);
    }
  } else {
    for (size_t r = 0; r < local; ++r)
      for (int64_t micro = 0; micro < accum; ++micro) run(r, micro, micro == 0);
  }
  for (size_t r = 0; r < local; ++r) {
    own[r].stop = stop_ && *stop_;
    if (!several) break;
    for (const Scaler::Memory& m : memories[r]) own[r].scales.push_back(m.last_scale);
  }
  records_ = several ? parallel_->join(own, before) : std::move(own);
  LossSum total;
  for (const RankRecord& r : records_) {
    total.loss += r.sum.loss;
    total.tokens += r.sum.tokens;
    told_to_stop_ |= r.stop;
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
  if (ranks().processes > 1) parallel_->take_traffic();  // of evaluations and checkpoints
  std::vector<TensorRecord> records;
  const bool log_tensors = config_.log.tensors_every > 0 && index % config_.log.tensors_every == 0;
  if (log_tensors && first_process()) pass.records = &records;

  StepReport report;
  report.step = index + 1;
  report.steps = config_.train.steps;
  const double share = schedule(config_.optim, index, config_.train.steps);
  report.lr = config_.optim.lr * share;
  const LossSum sum = backward_passes(index);
  report.counted = sum.tokens;
  report.loss = sum.loss / static_cast<double>(sum.tokens);
  report.loss_scale = loss_scaler_.scale(state_.loss_scale, index);
  const double squares =
      ranks().logical > 1 ? parallel_->finish_gradients() : optimizer_.gradient_squares(*model_);
  report.grad_norm = std::sqrt(squares) / report.loss_scale;
  // A cast that saturates makes a number of an infinity, and no gradient behind it would tell.
  for (const RankRecord& r : records_)
    if (r.nonfinite > 0) report.grad_norm = std::numeric_limits<double>::infinity();
  adapt_scales();
  for (TensorRecord& record : records)
    if (record.role == role_path(Role::store_weight_grad))
      if (const Parameter* p = model_->parameters().find(record.tensor + ".weight"))
        record.at_largest = static_cast<double>(p->grad_saturated) / static_cast<double>(p->size());
  // A loss that is not finite is no overflow of scaled gradients.
  report.skipped =
      std::isfinite(report.loss) && !loss_scaler_.accept(std::isfinite(report.grad_norm), state_.loss_scale);
  if (!report.skipped) require_finite(report);
  if (log_tensors && first_process()) pass.records = &records;
  // The compute copies follow in either case: a resumed run rounds them as the last step did.
  if (!report.skipped)
    optimizer_.step(*model_, index + 1 - state_.loss_scale.skipped, share, report.grad_norm,
                    report.loss_scale);
  parallel_->share_weights(index + 1);
  if (ranks().processes > 1) report.traffic = parallel_->take_traffic();
  pass.records = nullptr;
  for (TensorRecord& record : records) {
    record.step = index + 1;
    run_.tensors.line(to_json(record));
  }

  state_.step = index + 1;
  state_.tokens += sum.tokens;
  report.seconds = watch.seconds();
  report.tokens_per_second = static_cast<double>(tokens_a_step()) / report.seconds;
  report.speed_of_light = ideal_seconds_ / report.seconds;
  report.times = pass.times;
  double known = 0;
  for (const double seconds : report.times.seconds) known += seconds;
  report.times[Part::other] = report.seconds - known;
  report.log = report.step % config_.log.every == 0 || report.step == report.steps || index == 0;
  return report;
}

/// Automatic scaling of gradients: of those that are kept, and where another rule is for what travels, of
/// that. Of several ranks the recipe says whether saturation counts in the sum that is kept or in what each
/// rank made.
void Trainer::adapt_scales() {
  const std::deque<Parameter>& parameters = model_->parameters().all();
  const double logical = ranks().logical;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = parameters[i];
    const double size = static_cast<double>(p.size());
    const ScalingSpec& kept = p.weight_grad.spec.scaling;
    if (kept.kind == ScalingKind::automatic) {
      double count = static_cast<double>(p.grad_saturated), of = size;
      if (logical > 1 && kept.count == Counting::local) {
        count = 0;
        for (const RankRecord& r : records_) count += double{r.saturated[i]};
        of *= logical;
      }
      model_->scaler().adapt(p.weight_grad.slot, count / of);
    }
    if (logical > 1 && p.wire.scaling.kind == ScalingKind::automatic && p.wire_slot != p.weight_grad.slot)
      model_->scaler().adapt(p.wire_slot,
                             static_cast<double>(parallel_->sent_saturated(i)) / (size * logical));
  }
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
  if (ranks().processes > 1)
    j["sent_bytes"] = {{"weight_grad", report.traffic.weight_grad},
                       {"weight", report.traffic.weight},
                       {"scale", report.traffic.scale}};
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
      evaluate_loss(*model_, data_.validation(), config_.train.micro_batch, config_.eval.batches, {}, &comm_);
  report.tokens = sum.tokens;
  report.loss = sum.loss / static_cast<double>(sum.tokens);
  if (!first_process()) return report;
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
  if (!saved) save_checkpoint(path, *model_, state_, data_.tokenizer_path(), *parallel_);
  last_checkpoint_ = path;
  if (!first_process()) return;
  prune_checkpoints(
      config_.out,
      config_.checkpoint.keep);  // also after a resume: the run may have died before it got to that
  if (!saved) observer_.checkpointed(path);
}

TrainResult Trainer::run(bool resume, const std::atomic<bool>& stop) {
  stop_ = &stop;
  open(resume);
  parallel_->take_traffic();  // of a beginning
  const TrainStart start = describe();
  if (first_process()) {
    record_facts(start, false);
    observer_.start(start);
  }
  const Stopwatch watch;
  const int64_t first = state_.step, last = config_.train.steps;
  TrainResult result;
  result.run = config_.out;
  result.planned = start.traffic;
  // Alone, a process stops before the step; of several, all stop after the one in which one of them was told
  // to.
  for (int64_t index = first; index < last && !told_to_stop_ && !(stop && ranks().processes == 1); ++index) {
    StepReport report = step(index);
    report.seconds_left =
        watch.seconds() / static_cast<double>(index + 1 - first) * static_cast<double>(last - index - 1);
    result.sent.weight_grad += report.traffic.weight_grad;
    result.sent.weight += report.traffic.weight;
    result.sent.scale += report.traffic.scale;
    if (first_process()) {
      record(report);
      observer_.step(report);
    }
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
    save_final(result.final_directory, *model_, data_.tokenizer_path(), *parallel_);
  }
  if (first_process()) record_facts(start, true);
  result.seconds = watch.seconds();
  return result;
}

}  // namespace

TrainResult train(RunConfig config, bool resume, TrainObserver& observer, const std::atomic<bool>& stop,
                  CommThread* comm) {
  return Trainer(config, resume, observer, comm).run(resume, stop);
}

std::vector<TrainStart> plan_training(RunConfig config, int processes) {
  TrainObserver silent;
  return Trainer(config, false, silent, nullptr).plan(processes);
}

}  // namespace octavo
