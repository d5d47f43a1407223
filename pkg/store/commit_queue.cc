#include "store/commit_queue.h"

namespace monopod::store {

void CommitQueue::push(WorkPtr work) {
  std::lock_guard lock(mutex_);
  works_.push_back(std::move(work));
}

std::vector<WorkPtr> CommitQueue::take(std::size_t bytes_max) {
  std::lock_guard lock(mutex_);
  std::vector<WorkPtr> taken;
  for (std::size_t bytes = 0; !works_.empty() && bytes < bytes_max;) {
    bytes += works_.front()->writes.bytes();
    taken.push_back(std::move(works_.front()));
    works_.pop_front();
  }
  return taken;
}

std::size_t CommitQueue::size() const {
  std::lock_guard lock(mutex_);
  return works_.size();
}

}  // namespace monopod::store
