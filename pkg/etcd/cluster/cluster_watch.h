// Private: the watches of a ClusterBackend. All share one Watch stream to one member; when it ends, each is made anew on another
// one from the revision after the last it has.
//
//   stream -> answers -> slot (fragments joined, cut into revisions, filtered) -> queue -> Watch::next()
//
// On the wire each watch is of all keys. Every revision then has an event, in order: an older one is a duplicate, a missing one is
// a gap, and everything up to revision R has been delivered when R has.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>

#include "async/event.h"
#include "async/scope.h"
#include "async/time.h"
#include "etcd/cluster/answers.h"
#include "etcd/cluster/client.h"
#include "store/backend.h"

namespace monopod::etcd {

inline constexpr std::size_t kWatchQueueBytesMax = 16U << 20;  // undelivered events of one watch; then it pauses and comes back from the log
inline constexpr std::size_t kWatchQueueBatchesMax = 4096;

struct WatchSlot {
  WatchSlot(async::Executor executor, store::WatchRequest r, std::int64_t n) : request(std::move(r)), next(n), changed(executor) {}
  store::WatchRequest request;
  std::int64_t next;             // the first revision not in the queue yet
  std::int64_t id = 0;           // on the stream; 0: not on it
  bool paused = false;           // the queue was full
  std::int64_t gap_seen = 0;     // the revision that was missing once already
  std::vector<store::WatchEvent> fragments;
  std::deque<store::WatchBatch> queue;
  std::size_t queue_bytes = 0;
  bool progress_wanted = false;
  std::int64_t progress_at = 0;  // next() says so once everything up to it has been delivered; 0: not asked
  std::optional<Error> failed;
  async::Notify changed;
  std::function<void()> listener{};  // of try_next()
  void wake() {
    changed.wake_all();
    if (listener) listener();
  }
};

class ClusterWatches {
 public:
  // What the watches need of their backend. References outlive it.
  struct Parts {
    async::Executor executor;
    async::Time& time;
    Client& client;
    std::function<async::Task<Result<store::Revision>>()> newest_revision;
    std::function<void(store::Revision seen, store::Revision compacted)> on_revision;
  };
  explicit ClusterWatches(Parts parts) : parts_(std::move(parts)), slots_changed_(parts_.executor), outgoing_changed_(parts_.executor), progress_asked_(parts_.executor) {}

  // start > 0.
  std::unique_ptr<store::Watch> add(store::WatchRequest request, store::Revision start);
  async::Task<Result<>> run();           // the stream
  async::Task<Result<>> run_progress();  // answers to request_progress()
  void close();                          // every watch fails

 private:
  friend class ClusterWatch;
  async::Task<Result<>> run_stream(Stream& stream, async::Scope& scope);
  async::Task<Result<>> read_all(Stream& stream);
  async::Task<Result<>> write_all(Stream& stream);
  Result<> take(WatchAnswer answer);
  Result<> take_cancel(WatchSlot& slot, const WatchAnswer& answer);
  void deliver(WatchSlot& slot);
  void append(WatchSlot& slot, std::int64_t revision, std::vector<store::WatchEvent> events);
  void create(WatchSlot& slot);
  void drop(WatchSlot& slot);  // off the stream
  void resume(WatchSlot& slot);
  void remove(WatchSlot& slot);
  void send(std::string message);
  void ask_progress(WatchSlot& slot);

  Parts parts_;
  std::set<WatchSlot*> slots_;
  std::map<std::int64_t, WatchSlot*> ids_;
  std::deque<std::int64_t> creating_;  // asked for, in order; the answers come in the same
  std::int64_t next_id_ = 1;           // never used twice: late answers to an old one find nobody
  bool streaming_ = false;
  bool closed_ = false;
  std::deque<std::string> outgoing_;
  async::Notify slots_changed_;
  async::Notify outgoing_changed_;
  async::Notify progress_asked_;
};

}  // namespace monopod::etcd
