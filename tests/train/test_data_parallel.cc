// SPDX-License-Identifier: Apache-2.0
// Ranks on threads: the same bytes for any number of processes, any bucket size, any ZeRO stage; and what
// they send.
#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "cli/run_octavo.h"
#include "error_of.h"
#include "octavo/comm/thread_group.h"
#include "octavo/io/safetensors.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/train/trainer.h"

namespace octavo {
namespace {

int64_t read_vocab(const std::string& config_json) {
  return nlohmann::json::parse(slurp(config_json))["vocab_size"].get<int64_t>();
}

class DataParallelRuns : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    prepare_data(*directory_ / "text.txt", *directory_ / "data");
  }
  static void TearDownTestSuite() { delete directory_; }
  static std::string at(const std::string& name) { return *directory_ / name; }

  static RunConfig config(const std::string& name, const std::string& recipe, int logical) {
    RunConfig c;
    c.recipe = recipe;
    c.out = at(name);
    c.seed = 7;
    c.threads = 1;
    c.model.context = 24;
    c.model.width = 32;
    c.model.layers = 2;
    c.model.heads = 2;
    c.data.train = {at("data")};
    c.train.steps = 4;
    c.train.micro_batch = 1;
    c.train.grad_accum = 2;
    c.optim.lr = 0.01;
    c.optim.warmup_steps = 1;
    c.optim.clip = 0.5;
    c.eval.every = 2;
    c.eval.batches = 3;
    c.checkpoint.every = 2;
    c.parallel.logical_ranks = logical;
    c.parallel.bucket_mb = 0.02;
    return c;
  }

  /// On `processes` threads; what each of them returned.
  static std::vector<TrainResult> run(
      const RunConfig& config, int processes, bool resume = false,
      const std::function<std::unique_ptr<TrainObserver>(int)>& observer = [](int) {
        return std::make_unique<TrainObserver>();
      }) {
    const std::atomic<bool> stop{false};
    std::vector<TrainResult> results(static_cast<size_t>(processes));
    std::vector<std::exception_ptr> failed(results.size());
    const ThreadGroup group(processes);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < processes; ++rank)
      threads.emplace_back([&, rank] {
        try {
          CommThread comm([&] { return group.open(rank); });
          const auto watching = observer(rank);
          results[static_cast<size_t>(rank)] = train(config, resume, *watching, stop, &comm);
        } catch (...) {
          failed[static_cast<size_t>(rank)] = std::current_exception();
        }
      });
    for (std::thread& t : threads) t.join();
    for (const std::exception_ptr& f : failed)
      if (f) std::rethrow_exception(f);
    return results;
  }

  static void expect_same_checkpoints(const std::string& a, const std::string& b) {
    for (const char* part : {"checkpoints", "final"}) {
      const auto one = all_files(at(a) + "/" + part), two = all_files(at(b) + "/" + part);
      ASSERT_FALSE(one.empty());
      ASSERT_EQ(one.size(), two.size());
      for (const auto& [name, content] : one)
        EXPECT_TRUE(two.count(name) && two.at(name) == content)
            << b << ": " << part << "/" << name << " differs";
    }
    EXPECT_EQ(lines(a, "\"event\":\"eval\""), lines(b, "\"event\":\"eval\"")) << b;
  }
  /// Those of a run's metrics.jsonl that have `what` in them.
  static std::vector<std::string> lines(const std::string& name, const std::string& what) {
    std::vector<std::string> found;
    std::istringstream text(slurp(at(name) + "/metrics.jsonl"));
    for (std::string line; std::getline(text, line);)
      if (line.find(what) != std::string::npos) found.push_back(line);
    return found;
  }
  /// What the scaler remembers of a slot after some steps: the last scale first.
  static std::vector<float> memory_of(const std::string& name, int steps, const std::string& slot) {
    const SafetensorsFile file(
        fmt::format("{}/checkpoints/step_{:08}/optimizer.safetensors", at(name), steps));
    const TensorInfo& tensor = file.get("scaler." + slot);
    std::vector<float> values(tensor.data().size() / sizeof(float));
    std::memcpy(values.data(), tensor.data().data(), tensor.data().size());
    return values;
  }

 private:
  static TemporaryDirectory* directory_;
};
TemporaryDirectory* DataParallelRuns::directory_ = nullptr;

TEST_F(DataParallelRuns, TheSameBytesHoweverRanksAreMapped) {
  for (const char* recipe :
       {"bf16", "fp8-amax", "fp8-lm-o1", "fp8-lm-o2", "fp8-lm-o3", "fp8-lm-o3-msamp", "fp8-row"}) {
    SCOPED_TRACE(recipe);
    const std::string name = recipe;
    run(config(name + "-1", recipe, 4), 1);
    for (const int zero : {0, 1})
      for (const int processes : {1, 2, 4}) {
        if (zero == 0 && processes == 1) continue;
        const std::string other = name + "-" + std::to_string(processes) + "-" + std::to_string(zero);
        RunConfig c = config(other, recipe, 4);
        c.parallel.zero = zero;
        c.parallel.bucket_mb = processes == 2 ? 100 : 0.005;  // one bucket, or one for nearly each parameter
        run(c, processes);
        expect_same_checkpoints(name + "-1", other);
      }
  }
}

TEST_F(DataParallelRuns, DividingGradientsAndWeightsChangesNothing) {
  for (const char* recipe : {"bf16", "fp8-amax", "fp8-lm-o2", "fp8-lm-o3-msamp", "fp8-row"}) {
    SCOPED_TRACE(recipe);
    const std::string name = std::string("z-") + recipe;
    for (const int accum : {1, 2}) {
      // With one micro-batch as ZeRO-1; with several, ZeRO-2 sums over ranks after each.
      RunConfig first = config(name + "-base" + std::to_string(accum), recipe, 4);
      first.model.layers = 5;  // more than the two whose memory is shared by turns
      first.train.grad_accum = accum;
      first.parallel.zero = accum == 1 ? 1 : 2;
      run(first, 1);
      for (const int zero : {2, 3})
        for (const int processes : {2, 4}) {
          const std::string other =
              name + std::to_string(accum) + std::to_string(zero) + std::to_string(processes);
          RunConfig c = config(other, recipe, 4);
          c.model.layers = 5;
          c.train.grad_accum = accum;
          c.parallel.zero = zero;
          run(c, processes);
          expect_same_checkpoints(name + "-base" + std::to_string(accum), other);
        }
    }
  }
}

// What decides the factor of automatic scaling is the same whoever counted it.
TEST_F(DataParallelRuns, CountWhatSaturatesOnEachRank) {
  const auto compare = [&](const std::string& name, const std::string& recipe,
                           const std::vector<std::string>& changes) {
    SCOPED_TRACE(name);
    for (const int processes : {1, 2, 4}) {
      RunConfig c = config(name + std::to_string(processes), recipe, 4);
      c.recipe_set = changes;
      c.train.grad_accum = 1;
      run(c, processes);
      if (processes > 1) expect_same_checkpoints(name + "1", name + std::to_string(processes));
    }
  };
  compare("local", "fp8-lm-o2", {"store.weight_grad.scaling.count=local"});
  // Gradients are FP32 and only travel in FP8.
  compare("wire", "bf16", {"comm.weight_grad={format='e4m3', scaling={kind='auto', growth_steps=10}}"});
  int fallen = 0;
  for (const char* layer : {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"})
    for (const char* block : {"0", "1"}) {
      const std::vector<float> state = memory_of(
          "wire2", 4, std::string("transformer.h.") + block + "." + layer + ".weight:comm.weight_grad");
      ASSERT_EQ(state.size(), 2u);
      fallen += state[1] < 1;
    }
  EXPECT_GT(fallen, 0) << "with the largest code of a rank in the top octave of its scale";
}

TEST_F(DataParallelRuns, ASumTakesTheRangeOfWhatIsKept) {
  // The scale of the first moment says how large the gradient was.
  const auto scale = [&](const std::string& wire) {
    RunConfig c = config("range-" + wire, "fp8-lm-o2", 2);
    c.recipe_set = {"comm.weight_grad={format='" + wire + "', scaling={kind='current'}}"};
    c.train.steps = 1;
    run(c, 2);
    return memory_of("range-" + wire, 1, "transformer.h.1.mlp.c_fc.weight:store.moment1").front();
  };
  const float e4m3 = scale("e4m3");
  EXPECT_NEAR(std::log2(scale("e5m2") / e4m3), 0, 1) << "E5M2 codes reach 57344, those that are kept 448";
  EXPECT_NEAR(std::log2(scale("fp16") / e4m3), 0, 1);
}

// By scales of the very step a jump of all gradients moves no code.
TEST_F(DataParallelRuns, AJumpOfTheLossScaleIsDividedOut) {
  for (const bool jumps : {false, true}) {
    RunConfig c = config(jumps ? "jump" : "no-jump", "fp8-amax", 2);
    if (jumps) c.recipe_set = {"loss.scale='jump:16@2'"};
    run(c, 2);
  }
  const std::string weights = "/final/model.safetensors";
  EXPECT_TRUE(slurp(at("jump") + weights) == slurp(at("no-jump") + weights));
  EXPECT_EQ(lines("jump", "\"loss_scale\":1.0").size(), 2u);
  EXPECT_EQ(lines("jump", "\"loss_scale\":16.0").size(), 2u);
}

// The scales of masters and moments are with their owners, who do not touch them in such a step.
TEST_F(DataParallelRuns, ACheckpointOfASkippedStepIsTheSameOnAllMappings) {
  for (const int processes : {1, 2, 4}) {
    RunConfig c = config("skipped" + std::to_string(processes), "fp8-lm-o3", 4);
    c.recipe_set = {"gemm.output.format=fp16",          "attention.format=fp32",
                    "store.kv_cache.format=fp32",       "comm.activation.format=fp32",
                    "comm.activation_grad.format=fp32", "loss.scale='dynamic'"};
    c.model.init_std = 2;
    c.train.grad_accum = 1;
    c.train.steps = 3;
    c.checkpoint.every = 1;
    c.checkpoint.keep = 3;
    c.parallel.zero = processes == 1 ? 0 : 1;
    run(c, processes);
    if (processes > 1) expect_same_checkpoints("skipped1", "skipped" + std::to_string(processes));
  }
  EXPECT_FALSE(lines("skipped1", "\"skipped\":true").empty());
}

TEST_F(DataParallelRuns, StagesNeedLessAndLess) {
  std::map<int, std::map<std::string, size_t>> memory;
  for (const int zero : {0, 1, 2, 3}) {
    RunConfig c = config("memory-" + std::to_string(zero), "fp8-lm-o3", 4);
    c.model.layers = 6;
    c.parallel.zero = zero;
    c.train.steps = 1;
    run(c, 4, false, [&](int rank) -> std::unique_ptr<TrainObserver> {
      struct Ask : TrainObserver {
        explicit Ask(std::map<std::string, size_t>& out) : out(out) {}
        void start(const TrainStart& s) override { out = s.memory; }
        std::map<std::string, size_t>& out;
      };
      if (rank == 0) return std::make_unique<Ask>(memory[zero]);
      return std::make_unique<TrainObserver>();
    });
  }
  for (const char* what : {"optimizer", "weights"}) EXPECT_LT(memory[1][what], memory[0][what]) << what;
  EXPECT_EQ(memory[1]["gradients"], memory[0]["gradients"]);
  EXPECT_LT(memory[2]["gradients"], memory[1]["gradients"]);
  EXPECT_EQ(memory[2]["compute weights"], memory[1]["compute weights"]);
  EXPECT_LT(memory[3]["compute weights"], memory[2]["compute weights"]);
}

TEST_F(DataParallelRuns, StochasticRoundingDrawsTheSame) {
  const std::vector<std::string> changes{
      "store.master.rounding=stochastic",      "store.weight.rounding=stochastic",
      "store.moment1.rounding=stochastic",     "store.moment2.rounding=stochastic",
      "store.weight_grad.rounding=stochastic", "gemm.grad_output.rounding=stochastic"};
  RunConfig one = config("stochastic-1", "fp8-lm-o2", 4), four = config("stochastic-4", "fp8-lm-o2", 4);
  one.recipe_set = four.recipe_set = changes;
  four.parallel.zero = 1;
  run(one, 1);
  run(four, 4);
  expect_same_checkpoints("stochastic-1", "stochastic-4");
  run(config("nearest-1", "fp8-lm-o2", 4), 1);
  EXPECT_NE(slurp(at("nearest-1/final/model.safetensors")),
            slurp(at("stochastic-1/final/model.safetensors")));
}

TEST_F(DataParallelRuns, ResumesOnAnotherNumberOfProcesses) {
  for (const char* recipe : {"bf16", "fp8-lm-o2"}) {
    SCOPED_TRACE(recipe);
    const std::string name = recipe;
    run(config(name + "-whole", recipe, 4), 1);
    RunConfig c = config(name + "-parts", recipe, 4);
    c.parallel.zero = 1;
    run(c, 4);
    // Back to the checkpoint of step 2, as after a crash.
    fs::remove_all(at(name + "-parts/checkpoints/step_00000004"));
    fs::remove_all(at(name + "-parts/final"));
    run(c, 2, true);
    expect_same_checkpoints(name + "-whole", name + "-parts");
  }
}

TEST_F(DataParallelRuns, OneRankOfAManyIsTheMean) {
  // Four ranks with a sequence each and one rank with four of them: the same gradients but for rounding.
  RunConfig many = config("many", "fp32", 4), one = config("one", "fp32", 1);
  many.train.grad_accum = one.train.grad_accum = 1;
  one.train.micro_batch = 4;
  many.eval.batches = one.eval.batches = 0;  // of different sizes
  const TrainResult a = run(many, 2)[0], b = run(one, 1)[0];
  EXPECT_NEAR(a.last_eval.loss, b.last_eval.loss, 1e-4);
}

/// Bytes all ranks together send in a step, by hand. Gradients of a tensor go from every rank to its owner;
/// what is computed with, from the owner to every other.
struct ByHand {
  int64_t weight_grad = 0, weight = 0;
};
ByHand bytes_by_hand(const RunConfig& c, int64_t vocab, int processes, bool fp8, int zero) {
  const int64_t d = c.model.width, layers = c.model.layers, t = c.model.context;
  const int64_t linear = layers * 12 * d * d;                              // qkv, out, up, down
  const int64_t table = vocab * d, positions = t * d;                      // tied head
  const int64_t vectors = layers * (4 * d + (3 + 1 + 4 + 1) * d) + 2 * d;  // norms and biases
  ByHand out;
  const int64_t others = processes - 1, wire = fp8 ? 1 : 4;
  out.weight_grad = others * (wire * linear + 4 * (table + positions + vectors));
  if (zero == 0) out.weight_grad *= 2;
  // Codes and a scale of each of four matrices a block; BF16 of the table; what is read in FP32.
  if (zero > 1) out.weight_grad *= 2;  // after each of two micro-batches
  // ZeRO-3 fetches blocks: two passes there and back over five of them, of which two stay each time it turns:
  // 5 + 3 + 3 +
  // 3. Other weights go round once.
  const int64_t fetched = zero == 3 ? 14 : layers, block = linear / layers;
  if (zero > 0)
    out.weight = others * fetched * (fp8 ? block + 4 * 4 : 2 * block) +
                 others * (2 * table + 4 * (positions + vectors));
  return out;
}

TEST_F(DataParallelRuns, SendWhatTheShapesSay) {
  for (const int processes : {2, 3, 4, 8})
    for (const bool fp8 : {false, true})
      for (const int zero : {0, 1, 2, 3}) {
        RunConfig c = config("traffic", fp8 ? "fp8-lm-o3" : "bf16", processes);
        c.parallel.zero = zero;
        c.parallel.partition = "tensors";
        c.model.layers = 5;
        c.train.steps = 2;
        c.eval.every = 0;
        c.checkpoint.every = 0;
        SCOPED_TRACE(std::to_string(processes) + " processes, " + c.recipe + ", ZeRO " +
                     std::to_string(zero));
        // One process alone plans for all of them.
        const std::vector<TrainStart> plans = plan_training(c, processes);
        struct First : TrainObserver {
          explicit First(std::map<std::string, size_t>& m) : memory(m) {}
          void start(const TrainStart& s) override { memory = s.memory; }
          std::map<std::string, size_t>& memory;
        };
        std::map<std::string, size_t> taken, nobodys;
        const std::vector<TrainResult> results = run(c, processes, false, [&](int rank) {
          return std::make_unique<First>(rank == 0 ? taken : nobodys);
        });
        ASSERT_EQ(plans.size(), results.size());
        EXPECT_EQ(plans[0].memory, taken);
        for (size_t r = 0; r < plans.size(); ++r) {
          EXPECT_EQ(plans[r].traffic.weight_grad, results[r].planned.weight_grad);
          EXPECT_EQ(plans[r].traffic.weight, results[r].planned.weight);
        }
        StepTraffic all{};
        for (const TrainResult& r : results) {
          EXPECT_EQ(r.sent.weight_grad, 2 * r.planned.weight_grad);
          EXPECT_EQ(r.sent.weight, 2 * r.planned.weight);
          EXPECT_EQ(r.sent.scale, 2 * r.planned.scale);
          all.weight_grad += r.planned.weight_grad;
          all.weight += r.planned.weight;
        }
        const int64_t vocab = read_vocab(at("traffic/final/config.json"));
        const ByHand expected = bytes_by_hand(c, vocab, processes, fp8, zero);
        EXPECT_EQ(all.weight_grad, expected.weight_grad);
        EXPECT_EQ(all.weight, expected.weight);
        fs::remove_all(at("traffic"));
      }
}

TEST_F(DataParallelRuns, RefuseRanksThatWereToldSomethingElse) {
  const std::atomic<bool> stop{false};
  const auto message = [&](const std::function<void(RunConfig&)>& change) {
    std::vector<std::string> errors(3);
    const ThreadGroup group(3);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < 3; ++rank)
      threads.emplace_back([&, rank] {
        CommThread comm([&] { return group.open(rank); });
        RunConfig c = config("different", "bf16", 0);
        if (rank == 2) change(c);
        TrainObserver silent;
        errors[static_cast<size_t>(rank)] =
            error_of([&] { train(c, false, silent, stop, &comm); }, ExitCode::usage);
      });
    for (std::thread& t : threads) t.join();
    EXPECT_EQ(errors[1], "");
    return errors[0];
  };
  EXPECT_NE(message([](RunConfig& c) { c.optim.lr = 0.02; }).find("rank 2"), std::string::npos);
  const std::string lr = message([](RunConfig& c) { c.optim.lr = 0.02; });
  EXPECT_NE(lr.find("another configuration than rank 0"), std::string::npos) << lr;
  EXPECT_NE(lr.find("lr = 0.02 instead of lr = 0.01"), std::string::npos) << lr;
  const std::string recipe = message([](RunConfig& c) { c.recipe_set = {"gemm.rounding=truncate"}; });
  EXPECT_NE(recipe.find("rank 2"), std::string::npos) << recipe;
  EXPECT_FALSE(fs::exists(at("different")));
}

TEST_F(DataParallelRuns, SayWhichNumbersOfRanksAreRight) {
  const std::string text = error_of([] { make_ranks(6, 4, 0); }, ExitCode::usage);
  EXPECT_NE(text.find("parallel.logical_ranks is 6, which cannot be divided among 4 processes"),
            std::string::npos);
  RunConfig c = config("slices", "fp8-lm-o2", 2);
  c.parallel.partition = "slices";
  EXPECT_NE(error_of([&] { run(c, 1); }, ExitCode::usage).find("has a scale for the whole of"),
            std::string::npos);
}

}  // namespace
}  // namespace octavo
