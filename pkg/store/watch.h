// A watch: every change in a key range from a revision on, in order, without gap or duplicate, all changes of a revision
// in one batch. Only durable changes are delivered.
#pragma once

#include <functional>

#include "async/task.h"
#include "store/types.h"

namespace monopod::store {

struct WatchRequest {
  std::string key{};
  std::string range_end{};
  Revision start_revision{};  // first revision to deliver; 0: what comes after now
  bool prev_kv = false;
};

struct WatchEvent {
  enum class Type { kPut, kDelete };
  Type type = Type::kPut;
  KeyValue kv{};  // of a delete: key and mod alone, value empty
  std::optional<KeyValue> prev{};  // with prev_kv, and where compaction has not removed it
};

// Immutable, shared by all watchers of the same range.
struct WatchEvents {
  Revision revision{};
  std::vector<WatchEvent> events{};
};
struct WatchBatch {
  Revision revision{};
  std::shared_ptr<const WatchEvents> shared{};  // null: progress, everything up to revision has been delivered
  const std::vector<WatchEvent>& events() const;
};

// Owned by the caller; destroy it to cancel, before the backend dies. One next() or try_next() at a time.
class Watch {
 public:
  virtual ~Watch() = default;
  // Waits for the next batch. forever: there may be no change.
  // kOutOfRange "... compacted": what should come next is gone; read compact_revision() and start over with a range.
  // kUnavailable: the backend closed or failed. Both are final. A slow reader costs no memory: it catches up from the log.
  virtual async::Task<Result<WatchBatch>> next() = 0;
  // For one reader of many watches: as next(), but nullopt where that would wait for a change. The listener is then called when there may be one.
  virtual async::Task<Result<std::optional<WatchBatch>>> try_next() = 0;
  // Set before the first try_next(). It is called out of whatever makes the change: it only takes note.
  virtual void set_listener(std::function<void()> listener) = 0;
  // Makes next() return a progress batch as soon as everything durable now has been delivered.
  virtual void request_progress() = 0;
};

}  // namespace monopod::store
