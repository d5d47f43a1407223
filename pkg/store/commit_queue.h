// What waits to be durable: the loop fills it, the commit thread empties it.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "async/event.h"
#include "async/state_store.h"
#include "store/database.h"

namespace monopod::store {

// Something to be made durable, and who waits for it.
struct Work {
  explicit Work(async::Executor executor) : done(executor) {}
  Writes writes{};
  async::Lasts lasts = async::Lasts::kForever;
  std::int64_t revision = 0;             // of writes.changes; 0: none
  std::function<void()> undo{};          // takes back what was done beside changes
  std::function<void()> on_durable{};
  std::optional<Error> error{};
  async::Event done;
};
using WorkPtr = std::shared_ptr<Work>;

class CommitQueue {
 public:
  void push(WorkPtr work);
  // In order, none behind the one that fills bytes_max.
  std::vector<WorkPtr> take(std::size_t bytes_max);
  std::size_t size() const;
  bool empty() const { return size() == 0; }

 private:
  mutable std::mutex mutex_;
  std::deque<WorkPtr> works_;
};

}  // namespace monopod::store
