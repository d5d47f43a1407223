#include "scheduler/queue.h"

namespace monopod::scheduler {
namespace {

constexpr std::chrono::seconds kBackoffMin{1};
constexpr std::chrono::seconds kBackoffMax{10};
constexpr std::chrono::minutes kParkedMax{5};

}  // namespace

SchedulingQueue::SchedulingQueue(async::Executor executor, async::Time& time, Before before)
    : time_(time), active_(Order{std::move(before)}), changed_(executor) {}

void SchedulingQueue::add(PodInfoPtr pod) {
  std::string key = pod->key();
  if (auto it = by_key_.find(key); it != by_key_.end()) {  // keep its place in time
    pod->queued = it->second->queued;
    pod->attempts = it->second->attempts;
  } else if (auto parked = parked_.find(key); parked != parked_.end()) {
    pod->queued = parked->second.pod->queued;
    pod->attempts = parked->second.pod->attempts;
  } else {
    pod->queued = time_.mono();
  }
  remove(key);
  by_key_[key] = pod;
  active_.insert(std::move(pod));
  changed_.wake_all();
}

void SchedulingQueue::remove(const std::string& key) {
  parked_.erase(key);
  auto it = by_key_.find(key);
  if (it == by_key_.end()) return;
  active_.erase(it->second);
  by_key_.erase(it);
  std::erase_if(backing_off_, [&](const auto& entry) { return entry.second == key; });
}

MonoTime SchedulingQueue::backoff_end(const PodInfo& pod) const {
  std::chrono::seconds delay = kBackoffMin;
  for (int i = 1; i < pod.attempts && delay < kBackoffMax; ++i) delay *= 2;
  return time_.mono() + std::min(delay, kBackoffMax);
}

void SchedulingQueue::park(PodInfoPtr pod) {
  std::string key = pod->key();
  parked_[key] = {std::move(pod), time_.mono()};
  changed_.wake_all();
}

void SchedulingQueue::retry(PodInfoPtr pod) {
  std::string key = pod->key();
  backing_off_.emplace(backoff_end(*pod), key);
  by_key_[key] = std::move(pod);
  changed_.wake_all();
}

void SchedulingQueue::on_cluster_change() {
  auto parked = std::exchange(parked_, {});
  for (auto& [key, entry] : parked) retry(std::move(entry.pod));
}

void SchedulingQueue::move_due() {
  MonoTime now = time_.mono();
  while (!backing_off_.empty() && backing_off_.begin()->first <= now) {
    if (auto it = by_key_.find(backing_off_.begin()->second); it != by_key_.end()) active_.insert(it->second);
    backing_off_.erase(backing_off_.begin());
  }
  for (auto it = parked_.begin(); it != parked_.end();) {
    if (it->second.tried + kParkedMax > now) {
      ++it;
      continue;
    }
    PodInfoPtr pod = std::move(it->second.pod);
    it = parked_.erase(it);
    by_key_[pod->key()] = pod;
    active_.insert(std::move(pod));
  }
}

async::Task<Result<PodInfoPtr>> SchedulingQueue::pop() {
  for (;;) {
    move_due();
    if (!active_.empty()) {
      PodInfoPtr pod = *active_.begin();
      active_.erase(active_.begin());
      by_key_.erase(pod->key());
      ++pod->attempts;
      co_return pod;
    }
    if (backing_off_.empty() && parked_.empty()) {
      CO_TRY(co_await changed_.wait());
      continue;
    }
    MonoTime due = backing_off_.empty() ? MonoTime::max() : backing_off_.begin()->first;
    for (const auto& [key, entry] : parked_) due = std::min(due, entry.tried + kParkedMax);
    Result<> woken = co_await async::with_timeout<void>(time_, due - time_.mono(), "scheduling queue", changed_.wait());
    if (!woken && woken.error().code() == Code::kCancelled) co_return fail(woken.error());
  }
}

}  // namespace monopod::scheduler
