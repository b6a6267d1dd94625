// SPDX-License-Identifier: Apache-2.0
#include "octavo/comm/comm_thread.h"

#include <utility>

namespace octavo {

CommThread::CommThread(const Open& open) : exceptions_(std::uncaught_exceptions()) {
  std::promise<void> opened;
  std::future<void> ready = opened.get_future();
  thread_ = std::thread([this, &open, &opened] { serve(open, opened); });
  try {
    ready.get();
  } catch (...) {
    thread_.join();
    throw;
  }
}

CommThread::~CommThread() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    leave_at_once_ = std::uncaught_exceptions() > exceptions_;
  }
  wake_.notify_all();
  thread_.join();
}

Ticket CommThread::post(std::function<void(Communicator&)> job) {
  std::promise<void> done;
  Ticket ticket(done.get_future().share());
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back({std::move(job), std::move(done)});
  }
  wake_.notify_one();
  return ticket;
}

void CommThread::abort(int code, const std::string& why) {
  // Where the thread is idle, this job ends the job; where it waits for another rank, the announcement below
  // lets it give up.
  {
    std::lock_guard lock(mutex_);
    jobs_.push_front({[code, why](Communicator& c) { c.abort(code, why); }, {}});
  }
  wake_.notify_one();
  communicator_->abort(code, why);
}

void CommThread::serve(const Open& open, std::promise<void>& opened) {
  std::unique_ptr<Communicator> communicator;
  try {
    communicator = open();
    communicator_ = communicator.get();
    rank_ = communicator->rank();
    size_ = communicator->size();
  } catch (...) {
    opened.set_exception(std::current_exception());
    return;
  }
  opened.set_value();  // `open` and `opened` are gone from here on
  std::exception_ptr failure;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
    if (jobs_.empty() || leave_at_once_) break;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    if (!failure) {
      try {
        job.work(*communicator);
      } catch (...) {
        failure = std::current_exception();
      }
    }
    job.work = nullptr;  // what it holds goes before the waiting thread goes on
    if (failure)
      job.done.set_exception(failure);
    else
      job.done.set_value();
    lock.lock();
  }
  const bool in_order = !failure && !leave_at_once_;
  jobs_.clear();  // their tickets throw std::future_error
  lock.unlock();
  if (in_order) {
    try {
      communicator->close();
    } catch (...) {
      // The job is being ended; everything that was asked for is done.
    }
  }
  communicator_ = nullptr;
}

}  // namespace octavo
