// SPDX-License-Identifier: Apache-2.0
// A rank of a job that mpirun starts: comm_program MODE [--deadline SECONDS] [--pids DIR] [--grace SECONDS]
//   collectives  checks all of them, twice; prints "ok N ranks on H hosts"
//   pieces       one message beyond 1 GiB in each direction
//   stop R       after some exchanges rank R stops itself (SIGSTOP)
//   fail R       rank R has an error of its own and ends the job with code 4
//   throw R      rank R ends by an exception and tells nobody
//   disagree     the ranks gather two buckets in different orders
//   sizes        rank 0 sends less than rank 1 expects
//   loop         exchanges until it is ended
//   bandwidth    8 MB to each other rank and back; GB/s
// Faults come by OCTAVO_FAULT. A file with its pid appears in DIR for each rank.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <set>
#include <stdexcept>

#include "collective_checks.h"
#include "octavo/base/error.h"
#include "octavo/base/stopwatch.h"
#include "octavo/comm/comm_thread.h"
#include "octavo/comm/make_communicator.h"

namespace octavo {
namespace {

std::atomic<bool> stop_requested{false};
extern "C" void on_term(int) { stop_requested = true; }

struct Arguments {
  std::string mode, pids;
  int rank = 0;
  CommOptions options;
};

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  arguments.options.stop = &stop_requested;
  if (argc < 2) fail_usage("comm_program MODE");
  arguments.mode = argv[1];
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with("--") && i + 1 >= argc) fail_usage(word + " needs a value");
    if (word == "--deadline")
      arguments.options.deadline = std::stod(argv[++i]);
    else if (word == "--grace")
      arguments.options.stop_grace = std::stod(argv[++i]);
    else if (word == "--pids")
      arguments.pids = argv[++i];
    else
      arguments.rank = std::stoi(word);
  }
  return arguments;
}

void exchange_some(CommThread& comm, int64_t step) {
  comm.run([&](Communicator& c) {
    std::vector<Bytes> out(static_cast<size_t>(c.size()), Bytes(1000)), in = out;
    const std::vector<std::span<const std::byte>> from(out.begin(), out.end());
    const std::vector<std::span<std::byte>> to(in.begin(), in.end());
    all_to_all(c, from, to, {Traffic::weight_grad, nullptr, step, 3});
  });
}

void check_pieces(CommThread& comm) {
  comm.run([](Communicator& c) {
    const size_t size = (size_t{1} << 30) + 12345;
    const int other = 1 - c.rank();
    Bytes out(size, static_cast<std::byte>(c.rank() + 1)), in(size);
    out.back() = out[size_t{1} << 30] = std::byte{77};
    std::vector<std::span<const std::byte>> from(2);
    std::vector<std::span<std::byte>> to(2);
    from[static_cast<size_t>(other)] = out;
    to[static_cast<size_t>(other)] = in;
    all_to_all(c, from, to, {.role = Traffic::state});
    Bytes expected(size, static_cast<std::byte>(other + 1));
    expected.back() = expected[size_t{1} << 30] = std::byte{77};
    if (in != expected) throw std::runtime_error("a long message arrived changed");
    if (c.traffic().bytes() != static_cast<int64_t>(size)) throw std::runtime_error("counter");
  });
}

void measure(CommThread& comm) {
  comm.run([](Communicator& c) {
    const size_t size = 8'000'000;
    std::vector<Bytes> out(static_cast<size_t>(c.size()), Bytes(size, std::byte{1})), in = out;
    const std::vector<std::span<const std::byte>> from(out.begin(), out.end());
    const std::vector<std::span<std::byte>> to(in.begin(), in.end());
    double best = 1e9, latency = 1e9;
    for (int i = 0; i < 30; ++i) {
      barrier(c, {});
      const Stopwatch watch;
      all_to_all(c, from, to, {});
      best = std::min(best, watch.seconds());
    }
    for (int i = 0; i < 50; ++i) {
      const Stopwatch watch;
      for (int k = 0; k < 20; ++k) barrier(c, {});
      latency = std::min(latency, watch.seconds() / 20);
    }
    if (c.rank() == 0)
      fmt::print("exchange {:.2f} ms, {:.2f} GB/s sent by each rank; barrier {:.1f} us\n", best * 1e3,
                 static_cast<double>(size) * (c.size() - 1) / best / 1e9, latency * 1e6);
  });
}

void work(const Arguments& arguments, CommThread& comm) {
  const std::string& mode = arguments.mode;
  if (mode == "collectives") {
    std::string wrong;
    std::set<std::string> hosts;
    comm.run([&](Communicator& c) {
      wrong = check_collectives(c);
      if (wrong.empty()) wrong = check_collectives(c, 5000);
      for (int p = 0; p < c.size(); ++p) hosts.insert(c.host(p));
      barrier(c, {});
    });
    if (!wrong.empty()) comm.abort(1, wrong);
    if (comm.rank() == 0) fmt::print("ok {} ranks on {} hosts\n", comm.size(), hosts.size());
  } else if (mode == "pieces") {
    check_pieces(comm);
    if (comm.rank() == 0) fmt::print("ok\n");
  } else if (mode == "disagree") {
    comm.run([](Communicator& c) {
      for (int64_t k = 0; k < 2; ++k)
        (void)all_gather_value(c, k, {.role = Traffic::weight, .bucket = (k + c.rank()) % 2});
    });
  } else if (mode == "sizes") {
    comm.run([](Communicator& c) {
      Bytes data(c.rank() == 0 ? 100 : 101);
      c.rank() == 0 ? send(c, data, 1, {.role = Traffic::state})
                    : receive(c, data, 0, {.role = Traffic::state});
      barrier(c, {});
    });
  } else if (mode == "bandwidth") {
    measure(comm);
  } else {
    for (int64_t step = 0; step < 20; ++step) exchange_some(comm, step);
    const bool chosen = comm.rank() == arguments.rank;
    if (mode == "stop" && chosen) ::raise(SIGSTOP);
    if (mode == "fail" && chosen) comm.abort(4, "cannot write shard: No space left on device");
    if (mode == "throw" && chosen) fail_data("an error of its own");
    for (int64_t step = 20; !stop_requested; ++step) exchange_some(comm, step);
  }
}

}  // namespace
}  // namespace octavo

int main(int argc, char** argv) {
  using namespace octavo;
  ::signal(SIGTERM, on_term);
  try {
    const Arguments arguments = parse(argc, argv);
    CommThread comm([&] { return make_communicator(arguments.options); });
    if (!arguments.pids.empty())
      std::ofstream(arguments.pids + "/" + std::to_string(::getpid())) << comm.rank() << "\n";
    work(arguments, comm);
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "comm_program: %s\n", error.what());
    return static_cast<int>(error.code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "comm_program: %s\n", error.what());
    return 1;
  }
}
