// SPDX-License-Identifier: Apache-2.0
// The FP8 all-reduce of gradients, as training makes it, against MPI_Allreduce of as many FP32 numbers, in
// turns.
//   mpirun -n 2 build/release/bin/all_reduce_bench [elements] [repetitions]
#define OMPI_SKIP_MPICXX 1  // the C++ bindings are a library of their own
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "octavo/base/rng.h"
#include "octavo/base/stopwatch.h"
#include "octavo/comm/collectives.h"
#include "octavo/comm/make_communicator.h"
#include "octavo/kernels/sum_codes.h"

namespace octavo {
namespace {

/// Codes of all ranks by one scale -> codes of their sum, on all ranks.
class CodeAllReduce {
 public:
  CodeAllReduce(int64_t n, int ranks)
      : n_(n), part_((n + ranks - 1) / ranks), received_(static_cast<size_t>(part_ * ranks)) {}

  void run(Communicator& comm, uint8_t* codes) {
    const size_t ranks = static_cast<size_t>(comm.size()), own = static_cast<size_t>(comm.rank());
    const Label label{Traffic::weight_grad};
    std::vector<float> scale{1.0f};
    all_reduce_max(comm, scale, {Traffic::scale});
    std::vector<std::span<const std::byte>> out(ranks);
    std::vector<std::span<std::byte>> in(ranks), gathered(ranks);
    std::vector<const void*> parts(ranks);
    for (size_t r = 0; r < ranks; ++r) {
      gathered[r] = {reinterpret_cast<std::byte*>(codes) + begin(r), size(r)};
      out[r] = gathered[r];
      in[r] = {reinterpret_cast<std::byte*>(received_.data()) + r * size(own), size(own)};
      parts[r] = in[r].data();
    }
    parts[own] = gathered[own].data();
    in[own] = {};
    out[own] = {};
    comm.exchange(out, in, label);
    sum_codes(parts, Format::e4m3, static_cast<int64_t>(size(own)), CodeSum::fp32, 1.0f,
              {codes + begin(own), Format::e4m3, 1}, {}, alone_);
    all_gather(comm, gathered[own], gathered, label);
  }

 private:
  size_t begin(size_t rank) const {
    return std::min(static_cast<size_t>(n_), rank * static_cast<size_t>(part_));
  }
  size_t size(size_t rank) const { return begin(rank + 1) - begin(rank); }
  int64_t n_, part_;
  std::vector<uint8_t> received_;
  ThreadPool alone_{1};
};

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

int run(int64_t n, int repetitions) {
  const std::unique_ptr<Communicator> comm = make_communicator();
  std::vector<float> values(static_cast<size_t>(n)), work(values);
  const Rng rng(5, static_cast<uint64_t>(comm->rank()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(rng.normal(i));
  std::vector<uint8_t> codes(values.size()), kept(values.size());
  ThreadPool alone(1);
  CodeAllReduce all_reduce(n, comm->size());
  std::vector<double> fp32, fp8, with_cast;
  for (int i = -1; i < repetitions; ++i) {
    work = values;
    barrier(*comm, {});
    Stopwatch first;
    MPI_Allreduce(MPI_IN_PLACE, work.data(), static_cast<int>(n), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
    const double a = first.seconds();
    barrier(*comm, {});
    Stopwatch second;
    encode(values.data(), n, {codes.data(), Format::e4m3, 0x1p-5f}, {}, alone);
    const double cast = second.seconds();
    Stopwatch third;
    all_reduce.run(*comm, codes.data());
    const double b = third.seconds();
    if (i < 0) continue;  // pages and connections
    fp32.push_back(a);
    fp8.push_back(b);
    with_cast.push_back(b + cast);
  }
  if (comm->rank() == 0)
    std::printf(
        "%lld elements, %d ranks: MPI_Allreduce of FP32 %.2f ms, E4M3 codes %.2f ms (%.2f of it), with their "
        "cast "
        "from FP32 %.2f ms (%.2f of it)\n",
        static_cast<long long>(n), comm->size(), median(fp32) * 1e3, median(fp8) * 1e3,
        median(fp8) / median(fp32), median(with_cast) * 1e3, median(with_cast) / median(fp32));
  comm->close();
  return 0;
}

}  // namespace
}  // namespace octavo

int main(int argc, char** argv) {
  const long long n = argc > 1 ? std::atoll(argv[1]) : 16 << 20;
  return octavo::run(n, argc > 2 ? std::atoi(argv[2]) : 15);
}
