// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/run_trials.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/stopwatch.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

/// Two processes would resume the same run. The system drops the lock when the process ends, however it does.
class DirectoryLock {
 public:
  explicit DirectoryLock(const std::string& directory) {
    const std::string path = directory + "/lock";
    fd_ = ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    if (fd_ < 0) fail_errno("cannot open", path);
    if (::flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      ::close(fd_);
      fail_usage(fmt::format("another octavo is at work in '{}'", directory));
    }
  }
  ~DirectoryLock() { ::close(fd_); }
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int fd_ = -1;
};

/// Work that is left, in operations, and the speed of what this process did so far.
class WorkLeft {
 public:
  void add(double flops) { left_ += flops; }
  void skip(double flops) { left_ -= flops; }
  void done(double flops) {
    left_ -= flops;
    done_ += flops;
  }
  double seconds_left() const { return done_ > 0 ? watch_.seconds() * left_ / done_ : 0; }
  void start() { watch_.restart(); }

 private:
  double left_ = 0, done_ = 0;
  Stopwatch watch_;
};

class Relay : public TrainObserver {
 public:
  Relay(size_t index, size_t total, const Trial& trial, WorkLeft& work, LabObserver& observer)
      : index_(index), total_(total), trial_(trial), work_(work), observer_(observer) {}
  void start(const TrainStart& s) override {
    step_flops_ = s.step_flops;
    work_.skip(step_flops_ * static_cast<double>(s.first_step));
    observer_.trial(index_, total_, trial_, s);
  }
  void step(const StepReport& r) override {
    work_.done(step_flops_);
    observer_.step(index_, total_, trial_, r, work_.seconds_left());
  }

 private:
  size_t index_, total_;
  const Trial& trial_;
  WorkLeft& work_;
  LabObserver& observer_;
  double step_flops_ = 0;
};

/// The checkpoints of a finished run are several times its model, and a comparison has many runs; a sweep has
/// hundreds, and what it asks for is in their figures. The mark comes before the model goes.
void clean_up(const Trial& trial) {
  std::error_code ignored;
  fs::remove_all(trial.config.out + "/checkpoints", ignored);
  if (trial.keep_model || !fs::exists(trial.config.out + "/final", ignored)) return;
  write_file_atomic(trial.config.out + "/" + kFinishedMark,
                    fmt::format("{{\"steps\": {}}}\n", trial.config.train.steps));
  fs::remove_all(trial.config.out + "/final", ignored);
}

void mark_diverged(const Trial& trial, const Diverged& error) {
  const nlohmann::ordered_json mark{{"step", error.step()}, {"message", error.what()}};
  write_file_atomic(trial.config.out + "/diverged.json",
                    mark.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  clean_up(trial);
}

void require_validation(const Trial& trial) {
  if (!trial.needs_validation) return;
  for (const std::string& path : trial.config.data.train)
    if (trial.config.data.val.empty() && !fs::is_directory(path))
      fail_usage(
          fmt::format("'{}' has no validation split, which a comparison needs: give a data set directory, "
                      "a text, or --set data.val=FILE",
                      path));
}

}  // namespace

bool run_trials(const std::vector<Trial>& trials, const std::string& directory, LabObserver& observer,
                const std::atomic<bool>& stop) {
  std::error_code error;
  fs::create_directories(directory + "/runs", error);
  if (error) fail_data(fmt::format("cannot create '{}/runs': {}", directory, error.message()));
  const DirectoryLock lock(directory);

  // All that can be wrong is found before hours of training.
  std::vector<TrialState> states;
  std::map<std::pair<size_t, size_t>, double> step_flops;
  WorkLeft work;
  size_t finished = 0;
  for (const Trial& trial : trials) {
    require_validation(trial);
    states.push_back(trial_state(trial));
    if (states.back() == TrialState::finished || states.back() == TrialState::diverged) {
      clean_up(trial);
      ++finished;
      continue;
    }
    const auto [place, fresh] = step_flops.try_emplace({trial.group, trial.row}, 0.0);
    if (fresh) place->second = plan_training(trial.config).front().step_flops;
    work.add(place->second * static_cast<double>(trial.config.train.steps));
  }
  observer.begin(trials.size(), finished);
  work.start();

  for (size_t i = 0; i < trials.size(); ++i) {
    const Trial& trial = trials[i];
    if (states[i] == TrialState::finished || states[i] == TrialState::diverged) continue;
    if (stop) return false;
    Relay relay(i, trials.size(), trial, work, observer);
    try {
      const TrainResult result = train(trial.config, states[i] == TrialState::begun, relay, stop);
      if (result.interrupted) return false;
      clean_up(trial);
      observer.trained(i, trials.size(), trial, result.last_eval, "");
    } catch (const Diverged& diverged) {
      mark_diverged(trial, diverged);
      observer.trained(i, trials.size(), trial, {}, diverged.what());
    }
  }
  return true;
}

}  // namespace octavo
