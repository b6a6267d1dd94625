// SPDX-License-Identifier: Apache-2.0
// Compiled once for each MPI there is, into a plugin of its own: their binaries are not compatible. MPI-3.1.
// One send and one receive for each peer instead of MPI's collectives: so it is known who is missing.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>

#include "octavo/comm/transport.h"

namespace octavo {
namespace {

// Counts are int.
constexpr size_t kPiece = size_t{1} << 30;
constexpr int kTag = 1;

std::string error_text(int code) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  return text;
}

void check(int code, const char* call) {
  if (code != MPI_SUCCESS) throw TransportFailure(std::string(call) + ": " + error_text(code));
}

// Answers come within microseconds on one machine, then a core that other ranks may need is not held, then
// hardly used.
class Patience {
 public:
  void wait() {
    using Clock = std::chrono::steady_clock;
    if (++polls_ < kSpins) return;
    if (polls_ == kSpins) began_ = Clock::now();
    if (Clock::now() - began_ < kYielding)
      ::sched_yield();
    else
      std::this_thread::sleep_for(kSleep);
  }
  void moved() { polls_ = 0; }

 private:
  static constexpr int kSpins = 50;
  static constexpr std::chrono::microseconds kYielding{2000}, kSleep{50};
  int polls_ = 0;
  std::chrono::steady_clock::time_point began_;
};

class MpiTransport final : public Transport {
 public:
  MpiTransport() {
    ::prctl(PR_SET_TIMERSLACK, 1000UL);  // of this thread; 50 us would double its sleeps
    int provided = 0;
    check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
    if (provided < MPI_THREAD_FUNNELED) throw TransportFailure("MPI without support for threads");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    check(MPI_Comm_dup(MPI_COMM_WORLD, &comm_), "MPI_Comm_dup");
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string host() const override {
    char name[256] = "";
    return ::gethostname(name, sizeof name - 1) == 0 ? name : "?";
  }

  void transfer(SendParts out, ReceiveParts in, Progress& progress) override {
    requests_.clear();
    pieces_.clear();
    left_.assign(static_cast<size_t>(2 * size_), 0);
    for (int p = 0; p < size_; ++p) {
      const auto i = static_cast<size_t>(p);
      progress.expect(p, p != rank_ && !in[i].empty(), p != rank_ && !out[i].empty());
    }
    // Receives first, so that what arrives finds its place. Each rank begins with its successor: not all send
    // to rank 0 first.
    for (int k = 1; k < size_; ++k) start((rank_ + size_ - k) % size_, nullptr, &in);
    for (int k = 1; k < size_; ++k) start((rank_ + k) % size_, &out, nullptr);
    finish(progress);
  }

  void close() override {
    check(MPI_Comm_free(&comm_), "MPI_Comm_free");
    check(MPI_Finalize(), "MPI_Finalize");
  }
  void abort(int code) noexcept override { MPI_Abort(MPI_COMM_WORLD, code); }

 private:
  struct Piece {
    int peer;
    bool receive;
    int bytes;
  };

  void start(int peer, const SendParts* out, const ReceiveParts* in) {
    const bool receive = in != nullptr;
    const size_t total =
        receive ? (*in)[static_cast<size_t>(peer)].size() : (*out)[static_cast<size_t>(peer)].size();
    for (size_t at = 0; at < total; at += kPiece) {
      const int bytes = static_cast<int>(std::min(kPiece, total - at));
      MPI_Request request;
      if (receive)
        check(MPI_Irecv((*in)[static_cast<size_t>(peer)].data() + at, bytes, MPI_BYTE, peer, kTag, comm_,
                        &request),
              "MPI_Irecv");
      else
        check(MPI_Isend((*out)[static_cast<size_t>(peer)].data() + at, bytes, MPI_BYTE, peer, kTag, comm_,
                        &request),
              "MPI_Isend");
      requests_.push_back(request);
      pieces_.push_back({peer, receive, bytes});
      ++left_[static_cast<size_t>(2 * peer + receive)];
    }
  }

  void finish(Progress& progress) {
    indices_.resize(requests_.size());
    statuses_.resize(requests_.size());
    Patience patience;
    for (size_t open = requests_.size(); open > 0;) {
      int done = 0;
      const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &done,
                                    indices_.data(), statuses_.data());
      if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) check(code, "MPI_Testsome");
      for (int k = 0; k < done; ++k) {
        const MPI_Status& status = statuses_[static_cast<size_t>(k)];
        const Piece& piece = pieces_[static_cast<size_t>(indices_[static_cast<size_t>(k)])];
        if (code == MPI_ERR_IN_STATUS && status.MPI_ERROR != MPI_SUCCESS)
          throw TransportFailure((piece.receive ? "receiving from rank " : "sending to rank ") +
                                 std::to_string(piece.peer) + ": " + error_text(status.MPI_ERROR));
        if (piece.receive) check_length(status, piece);
        if (--left_[static_cast<size_t>(2 * piece.peer + piece.receive)] > 0) continue;
        piece.receive ? progress.received(piece.peer) : progress.sent(piece.peer);
      }
      if (progress.ending()) throw TransportFailure("the job is being ended");
      open -= static_cast<size_t>(std::max(done, 0));
      if (done > 0)
        patience.moved();
      else
        patience.wait();
    }
  }

  // Longer messages are an error of MPI's own.
  static void check_length(const MPI_Status& status, const Piece& piece) {
    int bytes = 0;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    if (bytes != piece.bytes)
      throw TransportFailure("rank " + std::to_string(piece.peer) + " sends " + std::to_string(bytes) +
                             " bytes, " + std::to_string(piece.bytes) + " were expected");
  }

  MPI_Comm comm_ = MPI_COMM_NULL;
  int rank_ = 0, size_ = 1;
  // Kept: an exchange allocates nothing once it has seen its like.
  std::vector<MPI_Request> requests_;
  std::vector<Piece> pieces_;  // of each request
  std::vector<int> left_;      // [2 * rank + receive]: pieces
  std::vector<int> indices_;
  std::vector<MPI_Status> statuses_;
};

}  // namespace
}  // namespace octavo

extern "C" __attribute__((visibility("default"))) octavo::Transport* OCTAVO_TRANSPORT_ENTRY(
    octavo::Progress&, std::size_t progress_size, char* error, std::size_t room) {
  if (progress_size != sizeof(octavo::Progress)) {
    std::snprintf(error, room, "the plugin is of another build of octavo");
    return nullptr;
  }
  try {
    return new octavo::MpiTransport();
  } catch (const std::exception& e) {
    std::snprintf(error, room, "%s", e.what());
    return nullptr;
  }
}
