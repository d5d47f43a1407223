// Seats of one priority level and the fair queues before them (KEP-1040). A request takes as many seats as it is wide; where none
// is free it waits in one of the queues that its flow was dealt (shuffle sharding), so that a flow that floods fills its own queues and
// not everybody's. Queues are served by start-time fair queueing: who has had less comes first.
//
// A level always has its own seats but for those it lends; beyond them it may take what no other level needs to keep:
//   granted while  sum over levels of max(executing, kept) <= total  and  executing <= executing_max
// Everything runs on the loop; while nothing waits, a grant is a few additions.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/status.h"
#include "async/event.h"
#include "async/time.h"

namespace monopod::api::flow {

struct LevelSettings {
  bool exempt = false;
  int shares = 0;             // nominalConcurrencyShares
  int lendable_percent = 0;
  int borrowing_percent = -1;  // of the nominal seats; -1: no limit
  bool queues = false;        // false: what finds no seat is refused
  int queue_count = 0, hand_size = 0, queue_length_max = 0;
};

class Pool;

class Level {
 public:
  Level(Pool& pool, std::string name) : pool_(pool), name_(std::move(name)) {}
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

  const std::string& name() const { return name_; }
  int executing() const { return executing_; }   // seats
  std::size_t waiting() const { return waiting_; }
  int seats() const { return nominal_; }

  std::string uid;                 // of the object, for the answer's headers
  std::uint64_t dispatched = 0, refused_full = 0, refused_late = 0;

 private:
  friend class Pool;
  friend class Seat;
  struct Waiter {
    Waiter(async::Executor executor, int seats) : width(seats), ready(executor) {}
    int width;
    double start = 0;  // virtual time
    bool granted = false;
    async::Event ready;
  };
  struct Queue {
    std::deque<Waiter*> waiters;
    double finish = 0;  // virtual time after the last that was taken in
  };
  std::size_t choose_queue(std::uint64_t flow) const;

  Pool& pool_;
  std::string name_;
  LevelSettings settings_;
  int nominal_ = 0, kept_ = 0, executing_max_ = 0, executing_ = 0;
  std::size_t waiting_ = 0;
  double now_ = 0;  // virtual time: the start of what was dispatched last
  std::vector<Queue> queues_;
};

// Seats held by one request. Empty for exempt ones.
class Seat {
 public:
  Seat() = default;
  Seat(std::shared_ptr<Level> level, int width) : level_(std::move(level)), width_(width) {}
  Seat(Seat&& other) noexcept : level_(std::move(other.level_)), width_(other.width_) {}
  Seat& operator=(Seat&& other) noexcept;
  ~Seat() { release(); }
  void release();

 private:
  std::shared_ptr<Level> level_;
  int width_ = 0;
};

class Pool {
 public:
  // Both outlive it and every level.
  Pool(async::Executor executor, async::Time& time) : executor_(executor), time_(time) {}

  // Makes or changes the levels: exactly these exist from now on; one that is gone lives until its last request is answered.
  void configure(const std::map<std::string, LevelSettings>& levels);
  std::shared_ptr<Level> find(const std::string& name) const;
  const std::map<std::string, std::shared_ptr<Level>>& levels() const { return levels_; }

  // 429 where the queue is full or the wait takes too long (kQueueWaitMax). flow: a hash of what is to be fair among.
  async::Task<Outcome<Seat>> take(std::shared_ptr<Level> level, std::uint64_t flow, int width);

 private:
  friend class Seat;
  bool fits(const Level& level, int width) const;
  void dispatch();

  async::Executor executor_;
  async::Time& time_;
  std::map<std::string, std::shared_ptr<Level>> levels_;
  std::list<std::weak_ptr<Level>> leaving_;
  std::size_t waiting_ = 0;
};

}  // namespace monopod::api::flow
