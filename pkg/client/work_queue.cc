#include "client/work_queue.h"

namespace monopod::client {

WorkQueue::WorkQueue(async::Executor executor, async::Time& time, Options options)
    : time_(time), options_(options), added_(executor), delayed_changed_(executor) {}

void WorkQueue::add(std::string key) {
  if (stopped_ || !waiting_.insert(key).second) return;
  if (working_.contains(key)) return;  // done() puts it in the queue
  order_.push_back(std::move(key));
  added_.wake_all();
}

void WorkQueue::add_after(std::string key, Duration delay) {
  if (stopped_) return;
  if (delay <= Duration::zero()) return add(std::move(key));
  MonoTime due = time_.mono() + std::chrono::duration_cast<MonoTime::duration>(delay);
  bool first = delayed_.empty() || due < delayed_.begin()->first;
  delayed_.emplace(due, std::move(key));
  if (first) delayed_changed_.wake_all();
}

void WorkQueue::add_rate_limited(std::string key) {
  int failed = failures_[key]++;
  Duration delay = options_.backoff_base;
  for (int i = 0; i < failed && delay < options_.backoff_max; ++i) delay *= 2;
  add_after(std::move(key), std::min(delay, options_.backoff_max));
}

int WorkQueue::failures(const std::string& key) const {
  auto it = failures_.find(key);
  return it == failures_.end() ? 0 : it->second;
}

async::Task<Result<std::string>> WorkQueue::take() {
  while (order_.empty()) {
    if (stopped_) co_return fail(Code::kUnavailable, "work queue shut down");
    CO_TRY(co_await added_.wait());
  }
  std::string key = std::move(order_.front());
  order_.pop_front();
  waiting_.erase(key);
  working_.insert(key);
  co_return key;
}

void WorkQueue::done(const std::string& key) {
  working_.erase(key);
  if (!waiting_.contains(key)) return;
  order_.push_back(key);
  added_.wake_all();
}

async::Task<Result<>> WorkQueue::run_timers() {
  for (;;) {  // forever: until cancelled
    while (!delayed_.empty() && delayed_.begin()->first <= time_.mono()) {
      std::string key = std::move(delayed_.begin()->second);
      delayed_.erase(delayed_.begin());
      add(std::move(key));
    }
    if (delayed_.empty()) {
      CO_TRY(co_await delayed_changed_.wait());
      continue;
    }
    // Sleep until the first is due, or until an earlier one arrives.
    Duration left = delayed_.begin()->first - time_.mono();
    Result<> woken = co_await async::with_timeout<void>(time_, left, "work queue", delayed_changed_.wait());
    if (!woken && woken.error().code() == Code::kCancelled) co_return woken;
  }
}

void WorkQueue::shut_down() {
  stopped_ = true;
  added_.wake_all();
}

}  // namespace monopod::client
