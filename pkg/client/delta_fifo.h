// What a reflector saw, waiting for its informer: changes per key in order, keys in first-in first-out order. A relist
// (replace) yields Replaced for what is there and Deleted for what vanished while the watch was down.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "async/event.h"
#include "client/indexer.h"

namespace monopod::client {

enum class DeltaType { kAdded, kUpdated, kDeleted, kReplaced, kSync };

struct Delta {
  DeltaType type;
  ObjectPtr object;  // of kDeleted: the last state known
};

class DeltaFifo {
 public:
  // known: the objects the consumer already has, to find deletions on replace().
  DeltaFifo(async::Executor executor, const Indexer& known) : known_(known), changed_(executor) {}

  void add(DeltaType type, ObjectPtr object);
  void replace(const std::vector<ObjectPtr>& objects);
  // Every known object again, for handlers that want a periodic look (kSync).
  void resync();

  // Waits for the next key's deltas, oldest first. kCancelled only.
  async::Task<Result<std::vector<Delta>>> pop();

  // True once the objects of the first replace() were all popped.
  bool has_synced() const { return replaced_ && initial_left_ == 0; }

 private:
  void queue(std::string key, Delta delta);

  const Indexer& known_;
  std::unordered_map<std::string, std::vector<Delta>> deltas_;
  std::deque<std::string> order_;
  bool replaced_ = false;
  std::size_t initial_left_ = 0;
  async::Notify changed_;
};

}  // namespace monopod::client
