#include "api/flow/seats.h"

#include <algorithm>
#include <cmath>

#include "api/limits.h"
#include "base/strings.h"

namespace monopod::api::flow {
namespace {

Status refused() { return too_many_requests("Too many requests, please try again later.", 1); }

}  // namespace

Seat& Seat::operator=(Seat&& other) noexcept {
  if (this == &other) return *this;
  release();
  level_ = std::move(other.level_);
  width_ = other.width_;
  return *this;
}

void Seat::release() {
  std::shared_ptr<Level> level = std::exchange(level_, nullptr);
  if (!level) return;
  level->executing_ -= width_;
  if (level->pool_.waiting_ > 0) level->pool_.dispatch();
}

// A hand of distinct queues by the flow's hash; of those the one with the least before it.
std::size_t Level::choose_queue(std::uint64_t flow) const {
  std::size_t count = queues_.size(), best = 0;
  std::vector<std::size_t> hand;
  for (int i = 0; i < settings_.hand_size && hand.size() < count; ++i) {
    std::size_t card = flow % (count - hand.size());
    flow /= count - hand.size();
    for (std::size_t held : hand)
      if (card >= held) ++card;
    hand.insert(std::ranges::lower_bound(hand, card), card);
    if (i == 0 || queues_[card].waiters.size() < queues_[best].waiters.size()) best = card;
  }
  return best;
}

void Pool::configure(const std::map<std::string, LevelSettings>& levels) {
  int shares = 0;
  for (const auto& [name, settings] : levels) shares += settings.exempt ? 0 : settings.shares;
  for (auto it = levels_.begin(); it != levels_.end();) {
    if (levels.contains(it->first)) {
      ++it;
      continue;
    }
    leaving_.emplace_back(it->second);
    it = levels_.erase(it);
  }
  std::erase_if(leaving_, [](const std::weak_ptr<Level>& level) { return level.expired(); });
  for (const auto& [name, settings] : levels) {
    std::shared_ptr<Level>& level = levels_[name];
    if (!level) level = std::make_shared<Level>(*this, name);
    level->settings_ = settings;
    level->nominal_ = shares == 0 ? 0 : static_cast<int>(std::ceil(static_cast<double>(kSeatsTotal) * settings.shares / shares));
    level->kept_ = std::max(0, level->nominal_ - level->nominal_ * settings.lendable_percent / 100);
    level->executing_max_ = settings.borrowing_percent < 0 ? kSeatsTotal : level->nominal_ + level->nominal_ * settings.borrowing_percent / 100;
    auto wanted = static_cast<std::size_t>(settings.queues ? settings.queue_count : 0);
    // Who waits keeps its queue: the number only grows while the level lives.
    if (wanted > level->queues_.size()) level->queues_.resize(wanted);
  }
  dispatch();
}

std::shared_ptr<Level> Pool::find(const std::string& name) const {
  auto it = levels_.find(name);
  return it == levels_.end() ? nullptr : it->second;
}

bool Pool::fits(const Level& level, int width) const {
  int executing = level.executing_ + width;
  if (executing <= level.kept_) return true;
  if (executing > level.executing_max_) return false;
  int taken = executing;
  for (const auto& [name, other] : levels_)
    if (other.get() != &level && !other->settings_.exempt) taken += std::max(other->executing_, other->kept_);
  return taken <= kSeatsTotal;
}

void Pool::dispatch() {
  for (auto& [name, level] : levels_) {
    while (level->waiting_ > 0) {
      Level::Queue* next = nullptr;
      for (Level::Queue& queue : level->queues_)
        if (!queue.waiters.empty() && (next == nullptr || queue.waiters.front()->start < next->waiters.front()->start)) next = &queue;
      if (next == nullptr || !fits(*level, next->waiters.front()->width)) break;
      Level::Waiter* waiter = next->waiters.front();
      next->waiters.pop_front();
      --level->waiting_;
      --waiting_;
      level->executing_ += waiter->width;
      level->now_ = std::max(level->now_, waiter->start);
      waiter->granted = true;
      waiter->ready.set();
    }
  }
}

async::Task<Outcome<Seat>> Pool::take(std::shared_ptr<Level> level, std::uint64_t flow, int width) {
  if (level->settings_.exempt) co_return Seat();
  // A request that is wider than the level could ever hold takes all of it.
  width = std::clamp(width, 1, std::max(1, std::min(level->executing_max_, std::max(level->kept_, level->nominal_))));
  if (level->waiting_ == 0 && fits(*level, width)) {
    level->executing_ += width;
    ++level->dispatched;
    co_return Seat(level, width);
  }
  if (!level->settings_.queues || level->queues_.empty()) {
    ++level->refused_full;
    co_return refuse(refused());
  }
  std::size_t number = level->choose_queue(flow);
  if (level->queues_[number].waiters.size() >= static_cast<std::size_t>(level->settings_.queue_length_max)) {
    ++level->refused_full;
    co_return refuse(refused());
  }
  // Leaves the queue, or gives back what came too late, however the wait ends.
  struct Waiting {
    Waiting(Pool& p, std::shared_ptr<Level> l, std::size_t n, int width) : pool(p), level(std::move(l)), number(n), waiter(p.executor_, width) {
      Level::Queue& queue = level->queues_[number];
      waiter.start = std::max(level->now_, queue.finish);
      queue.finish = waiter.start + width;
      queue.waiters.push_back(&waiter);
      ++level->waiting_;
      ++pool.waiting_;
    }
    ~Waiting() {
      if (taken) return;
      if (waiter.granted) {
        Seat(level, waiter.width).release();
        return;
      }
      std::erase(level->queues_[number].waiters, &waiter);
      --level->waiting_;
      --pool.waiting_;
    }
    Pool& pool;
    std::shared_ptr<Level> level;
    std::size_t number;  // queues may move when there come more
    Level::Waiter waiter;
    bool taken = false;  // what was granted is held by a Seat
  };
  auto waiting = std::make_unique<Waiting>(*this, level, number, width);
  dispatch();
  Result<> ready = co_await async::with_timeout<void>(time_, kQueueWaitMax, "queue", waiting->waiter.ready.wait());
  if (waiting->waiter.granted) {
    waiting->taken = true;
    Seat seat(level, width);
    ++level->dispatched;
    if (!ready && ready.error().code() == Code::kCancelled) co_return refuse(ready.error());
    co_return seat;
  }
  if (ready.error().code() == Code::kCancelled) co_return refuse(ready.error());
  ++level->refused_late;
  co_return refuse(refused());
}

}  // namespace monopod::api::flow
