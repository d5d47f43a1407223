// The newest state of one resource in memory and the last events that led to it, fed by the store's watch.
//
//        store watch ──> CacheSet ──> WatchCache: objects (sorted by key) + ring of events
//                                        ├── Watcher (selection, form, bounded queue) ──> socket
//                                        └── Watcher ──> a controller in this process
//
// Everything runs on the loop; between two awaits the content stands still.
#pragma once

#include <deque>
#include <list>
#include <set>

#include "api/cache/frame.h"
#include "api/cache/selection.h"
#include "async/event.h"

namespace monopod::api {

struct CachedEvent {
  EventType type = EventType::kAdded;
  std::int64_t revision = 0;
  ObjectPtr object;    // for kDeleted: the last state with the revision of the deletion
  ObjectPtr previous;  // null for kAdded
};

struct KeyLess {
  using is_transparent = void;
  static std::string_view of(const ObjectPtr& object) { return object->key(); }
  static std::string_view of(std::string_view key) { return key; }
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const { return of(a) < of(b); }
};
using ObjectSet = std::set<ObjectPtr, KeyLess>;

class WatchCache;

// Takes a watcher's frames the moment they are made, while its reader waits for some: no task has to be woken for each.
class FrameSink {
 public:
  virtual bool take_frame(const SharedBytes& frame) = 0;  // false: it goes to the queue, and the reader is woken

 protected:
  ~FrameSink() = default;
};

// A queue between the cache and one reader. Closed with kOutOfRange when the reader is too slow.
class Watcher final : public LocalWatch {
 public:
  struct Item {
    WatchEvent event;
    SharedBytes frame;  // null without a form, and for what was replayed: the reader encodes that as it goes
  };

  ~Watcher() override;
  async::Task<Result<WatchEvent>> next() override;
  std::optional<WatchEvent> try_next() override;

  // All that is queued: nothing where nothing is. The error the watch was closed with, once all was taken.
  Result<std::vector<Item>> take();
  // Until there may be something to take. kCancelled only.
  async::Task<Result<>> wait() { return changed_.wait(); }
  // The same for a reader of frames: meanwhile what is pushed goes to the sink if that can take it.
  async::Task<Result<>> wait(FrameSink& sink);
  // Ends it for its reader, behind nothing: what is queued is dropped.
  void close(Error why);
  // For the reader's own additions in order: bookmarks.
  std::int64_t delivered_revision() const { return delivered_revision_; }
  bool closed() const { return closed_.has_value(); }
  bool empty() const { return first_ == queue_.size(); }
  const FrameForm* form() const { return form_.get(); }
  const Selection& selection() const { return selection_; }
  // Between the two, live events wait behind what replay() queues.
  void hold() { holding_ = true; }
  void release();
  // A bookmark at the cache's revision behind what is queued.
  void push_bookmark(std::int64_t revision, bool initial_events_end);

 private:
  friend class WatchCache;
  Watcher(WatchCache* cache, async::Executor executor, Selection selection, std::shared_ptr<const FrameForm> form);
  void push(Item item);

  WatchCache* cache_;  // null once the cache is gone
  Selection selection_;
  std::shared_ptr<const FrameForm> form_;
  std::vector<Item> queue_;  // from first_ on
  std::vector<Item> held_;
  std::size_t first_ = 0;
  bool holding_ = false;
  std::size_t queue_bytes_ = 0;
  std::int64_t delivered_revision_ = 0;
  std::optional<Error> closed_;
  FrameSink* sink_ = nullptr;  // while its owner waits
  async::Notify changed_;
  std::list<Watcher*>::iterator position_;
};

class WatchCache {
 public:
  WatchCache(async::Executor executor, const Resource& resource, std::size_t ring_events_max);
  ~WatchCache();
  WatchCache(const WatchCache&) = delete;
  WatchCache& operator=(const WatchCache&) = delete;

  const Resource& resource() const { return *resource_; }
  // What the store holds as an object of this resource: a custom one in the form its schema gives it now
  // (defaults, pruning), unless its versions differ: then it is settled when it is shown.
  Result<ObjectPtr> read(std::string_view stored, std::int64_t revision) const;

  // For custom kinds. The row changes with its definition, and old ones may still be in use by calls; `keep` holds the new one.
  void rebind(const Resource& resource, std::shared_ptr<const void> keep);
  const std::shared_ptr<const void>& keep() const { return keep_; }
  // What is there in the form of the row as it now is: no events, as upstream.
  void refresh(std::string_view key);
  // Ends every watch as if its time were over: clients watch anew.
  void close_watchers();
  // Between the two, the feed waits behind a snapshot of the store that is being read; what the snapshot has is not fed again.
  void begin_snapshot() { in_snapshot_ = true; }
  void end_snapshot(std::int64_t revision);
  // No object may be made any more: the definition goes.
  bool closed_to_creates = false;

  const std::vector<std::string_view>& fields() const { return fields_; }
  const ObjectSet& objects() const { return objects_; }
  ObjectPtr find(std::string_view key) const;
  // First object of the range that a namespace covers; objects().end() and key order decide where it ends.
  ObjectSet::const_iterator first_of(std::string_view ns) const;

  // The feed. load() without events; put() and remove() with.
  void load(ObjectPtr object);
  void put(ObjectPtr object);  // a revision that is not newer than what is there changes nothing
  void remove(std::string_view key, std::int64_t revision);

  // Number that rises with every change; for those who keep something computed from the content.
  std::uint64_t generation() const { return generation_; }

  // Events after `revision` are all in the ring.
  bool ring_covers(std::int64_t revision) const { return revision >= ring_floor_; }
  void set_ring_floor(std::int64_t revision);  // nothing older is known: at start
  const std::deque<CachedEvent>& ring() const { return ring_; }

  // A watcher that sees every change from now on.
  std::unique_ptr<Watcher> subscribe(Selection selection, std::shared_ptr<const FrameForm> form);
  // Queues what the ring holds after the revision (ring_covers() said yes).
  void replay_ring(Watcher& watcher, std::int64_t after) const;
  // Queues one event of the past, as the watcher's selection sees it.
  static void replay(Watcher& watcher, const CachedEvent& event);
  std::size_t watcher_count() const { return watchers_.size(); }

 private:
  friend class Watcher;
  void publish(CachedEvent event);

  async::Executor executor_;
  const Resource* resource_;
  std::shared_ptr<const void> keep_;
  std::size_t ring_events_max_;
  std::vector<std::string_view> fields_;
  ObjectSet objects_;
  std::deque<CachedEvent> ring_;
  std::size_t ring_bytes_ = 0;
  std::int64_t ring_floor_ = 0;  // ring_ holds all events with revision > ring_floor_
  std::uint64_t generation_ = 0;
  std::list<Watcher*> watchers_;
  struct Held {
    ObjectPtr object;  // null: removed
    std::string key;
    std::int64_t revision;
  };
  bool in_snapshot_ = false;
  std::vector<Held> behind_snapshot_;
  std::int64_t snapshot_ = 0;
};

// The object with another resourceVersion.
ObjectPtr with_revision(const Object& object, std::int64_t revision, const std::vector<std::string_view>& fields);

}  // namespace monopod::api
