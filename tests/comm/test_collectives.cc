// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <mutex>
#include <stdexcept>

#include "collective_checks.h"
#include "error_of.h"
#include "octavo/base/version.h"
#include "octavo/comm/make_communicator.h"
#include "octavo/comm/thread_group.h"

namespace octavo {
namespace {

class Ranks : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Comm, Ranks, testing::Values(1, 2, 3, 4, 8));

TEST_P(Ranks, CollectivesDeliverAndCount) {
  std::mutex mutex;
  int calls = 0;
  ThreadGroup::run(GetParam(), [&](Communicator& comm) {
    EXPECT_EQ(comm.size(), GetParam());
    const std::string small = check_collectives(comm), large = check_collectives(comm, 50);
    std::lock_guard lock(mutex);
    EXPECT_EQ(small, "") << "rank " << comm.rank();
    EXPECT_EQ(large, "") << "rank " << comm.rank();
    ++calls;
  });
  EXPECT_EQ(calls, GetParam());
}

// Ranks that run ahead must not overtake messages.
TEST_P(Ranks, ManyExchangesStayInOrder) {
  ThreadGroup::run(GetParam(), [&](Communicator& comm) {
    for (int i = 0; i < 300; ++i) {
      const std::vector<int> all = all_gather_value(comm, i * 100 + comm.rank(), {});
      for (int p = 0; p < comm.size(); ++p) ASSERT_EQ(all[static_cast<size_t>(p)], i * 100 + p);
    }
  });
}

TEST(SelfCommunicator, IsOneRankThatSendsNothing) {
  const std::unique_ptr<Communicator> comm = self_communicator();
  EXPECT_EQ(comm->size(), 1);
  EXPECT_EQ(comm->rank(), 0);
  EXPECT_FALSE(comm->host(0).empty());
  EXPECT_EQ(check_collectives(*comm), "");
  EXPECT_EQ(comm->traffic().bytes(), 0);
  comm->close();
}

TEST(Counters, AreKeptByRoleAndOperationAndReset) {
  ThreadGroup::run(3, [](Communicator& comm) {
    const std::byte data[10] = {};
    std::byte all[30];
    EXPECT_EQ(comm.traffic().bytes(), 0) << "the greeting does not count";
    all_gather(comm, data, std::span<std::byte>(all), {.role = Traffic::weight});
    all_gather(comm, data, std::span<std::byte>(all), {Traffic::weight, "scales along"});
    all_gather(comm, data, std::span<std::byte>(all), {.role = Traffic::weight});
    EXPECT_EQ(comm.traffic().bytes(Traffic::weight, "all-gather"), 40);
    EXPECT_EQ(comm.traffic().bytes(Traffic::weight, "scales along"), 20);
    EXPECT_EQ(comm.traffic().bytes(Traffic::weight), 60);
    EXPECT_EQ(comm.traffic().bytes(Traffic::state), 0);
    ASSERT_EQ(comm.traffic().entries().size(), 2u);
    EXPECT_EQ(comm.traffic().entries()[0].exchanges, 2);
    comm.traffic().reset();
    EXPECT_EQ(comm.traffic().bytes(), 0);
  });
}

TEST(Exchange, RefusesPartsThatDoNotFit) {
  const std::unique_ptr<Communicator> comm = self_communicator();
  std::byte data[4] = {};
  const std::vector<std::span<const std::byte>> out{std::span<const std::byte>(data)};
  const std::vector<std::span<std::byte>> shorter{std::span<std::byte>(data, 3)}, none;
  EXPECT_THROW(comm->exchange(out, shorter, {}), std::logic_error);
  EXPECT_THROW(comm->exchange(out, none, {}), std::logic_error);
  EXPECT_THROW(broadcast(*comm, data, 1, {}), std::logic_error);
}

// Each of these would hang or mix data up.
TEST(OrderCheck, NamesBothExchanges) {
  const std::string step = error_of(
      [] {
        ThreadGroup::run(2, [](Communicator& comm) {
          barrier(comm, {.role = Traffic::control, .step = comm.rank() + 5});
        });
      },
      ExitCode::communication);
  EXPECT_NE(step.find("are not in the same exchange"), std::string::npos) << step;
  EXPECT_NE(step.find("step 5"), std::string::npos) << step;
  EXPECT_NE(step.find("step 6"), std::string::npos) << step;

  const std::string operation = error_of(
      [] {
        ThreadGroup::run(3, [](Communicator& comm) {
          std::vector<float> values(3);
          if (comm.rank() == 1)
            all_reduce_max(comm, values, {.role = Traffic::scale, .bucket = 9});
          else
            (void)all_gather_value(comm, values[0], {.role = Traffic::weight});
        });
      },
      ExitCode::communication);
  EXPECT_NE(operation.find("all-gather of weights"), std::string::npos) << operation;
  EXPECT_NE(operation.find("all-reduce max of scales, bucket 9"), std::string::npos) << operation;

  const std::string size = error_of(
      [] {
        ThreadGroup::run(2, [](Communicator& comm) {
          std::vector<double> values(comm.rank() == 0 ? 2 : 3);
          all_reduce_sum(comm, values, {});
        });
      },
      ExitCode::communication);
  EXPECT_NE(size.find("sending 16 bytes and expecting 16"), std::string::npos) << size;
  EXPECT_NE(size.find("sending 24 bytes and expecting 24"), std::string::npos) << size;
}

TEST(ThreadGroup, ARankThatThrowsTakesTheOthersWithIt) {
  const std::string message = error_of([] {
    ThreadGroup::run(3, [](Communicator& comm) {
      barrier(comm, {});
      if (comm.rank() == 2) fail_data("the disk of rank 2 is full");
      barrier(comm, {});
    });
  });
  EXPECT_EQ(message, "the disk of rank 2 is full");
}

// The flipped bit is in the build of the greeting.
TEST(Greeting, RanksOfDifferentBuildsAreRefused) {
  CommOptions options;
  options.fault = "rank=1,at=0,kind=flip";
  const std::string message = error_of(
      [&] {
        ThreadGroup::run(
            2, [](Communicator&) {}, options);
      },
      ExitCode::unsupported);
  EXPECT_NE(message.find("rank 1 (host "), std::string::npos) << message;
  EXPECT_NE(message.find(std::string("runs octavo ") + version()), std::string::npos) << message;
  EXPECT_NE(message.find("all ranks need the same build"), std::string::npos) << message;
}

Engine engine_for(const std::vector<std::pair<std::string, const char*>>& variables) {
  return engine_of_environment([&](const char* name) -> const char* {
    for (const auto& [key, value] : variables)
      if (key == name) return value;
    return nullptr;
  });
}

TEST(Engine, IsThatOfTheLauncher) {
  EXPECT_EQ(engine_for({}), Engine::self);
  EXPECT_EQ(engine_for({{"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_RANK", "0"}}), Engine::openmpi);
  EXPECT_EQ(engine_for({{"OMPI_COMM_WORLD_SIZE", "1"}, {"PMIX_RANK", "0"}}), Engine::self);
  EXPECT_EQ(engine_for({{"PMI_SIZE", "2"}, {"PMI_RANK", "0"}}), Engine::mpich);
  EXPECT_EQ(engine_for({{"PMI_SIZE", "1"}, {"PMI_RANK", "0"}}), Engine::self);
  EXPECT_EQ(engine_for({{"PMIX_RANK", "1"}, {"SLURM_STEP_NUM_TASKS", "2"}}), Engine::openmpi);
  EXPECT_EQ(engine_for({{"SLURM_STEP_NUM_TASKS", "1"}}), Engine::self);
  EXPECT_EQ(engine_for({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OCTAVO_COMM", "self"}}), Engine::self);
  EXPECT_EQ(engine_for({{"OCTAVO_COMM", "mpich"}}), Engine::mpich);
  EXPECT_EQ(error_of(
                [] {
                  engine_for({{"OCTAVO_COMM", "openmp"}});
                },
                ExitCode::usage),
            "OCTAVO_COMM is 'openmp' (did you mean 'openmpi'?)");
  const std::string slurm = error_of(
      [] {
        engine_for({{"SLURM_STEP_NUM_TASKS", "8"}});
      },
      ExitCode::unsupported);
  EXPECT_NE(slurm.find("srun --mpi=pmix"), std::string::npos) << slurm;
}

TEST(Engine, APluginThatIsNotOneIsAnError) {
  CommOptions options;
  EXPECT_NE(error_of([&] { Communicator comm(plugin_transport("/nowhere/comm-x.so", "Open MPI"), options); },
                     ExitCode::unsupported)
                .find("/nowhere/comm-x.so"),
            std::string::npos);
  EXPECT_NE(error_of([&] { Communicator comm(plugin_transport("libm.so.6", "Open MPI"), options); },
                     ExitCode::unsupported)
                .find("another version of octavo"),
            std::string::npos);
}

}  // namespace
}  // namespace octavo
