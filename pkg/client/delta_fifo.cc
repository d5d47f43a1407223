#include "client/delta_fifo.h"

#include <unordered_set>

namespace monopod::client {

void DeltaFifo::queue(std::string key, Delta delta) {
  auto [it, fresh] = deltas_.try_emplace(std::move(key));
  std::vector<Delta>& list = it->second;
  // Two deletions in a row say the same; keep one.
  if (delta.type == DeltaType::kDeleted && !list.empty() && list.back().type == DeltaType::kDeleted) return;
  list.push_back(std::move(delta));
  if (fresh) order_.push_back(it->first);
  changed_.wake_all();
}

void DeltaFifo::add(DeltaType type, ObjectPtr object) {
  std::string key = object->key();
  if (type == DeltaType::kDeleted && !known_.find(key) && !deltas_.contains(key)) return;  // nobody knew it
  queue(std::move(key), {type, std::move(object)});
}

void DeltaFifo::replace(const std::vector<ObjectPtr>& objects) {
  std::unordered_set<std::string> present;
  for (const ObjectPtr& object : objects) {
    present.insert(object->key());
    queue(object->key(), {DeltaType::kReplaced, object});
  }
  for (const std::string& key : known_.keys())
    if (!present.contains(key)) queue(key, {DeltaType::kDeleted, known_.find(key)});
  for (auto& [key, list] : deltas_)
    if (!present.contains(key) && list.back().type != DeltaType::kDeleted)
      list.push_back({DeltaType::kDeleted, list.back().object});
  if (!replaced_) {
    replaced_ = true;
    initial_left_ = order_.size();
  }
}

void DeltaFifo::resync() {
  for (const ObjectPtr& object : known_.list())
    if (!deltas_.contains(object->key())) queue(object->key(), {DeltaType::kSync, object});
}

async::Task<Result<std::vector<Delta>>> DeltaFifo::pop() {
  while (order_.empty()) CO_TRY(co_await changed_.wait());
  auto node = deltas_.extract(order_.front());
  order_.pop_front();
  if (initial_left_ > 0) --initial_left_;
  co_return std::move(node.mapped());
}

}  // namespace monopod::client
