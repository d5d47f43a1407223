// WatchHub: who watches what. Watchers of the same range share a WatchGroup, and a group shares each batch, so a change costs
// one lookup per distinct range length and one wake-up per group, however many watchers there are.
//
//   commit -> publish(revision) -> groups whose range holds a changed key -> one WatchEvents each -> queue, wake
//
// A watcher holds no queue, only the next revision it wants. If that is in its group's queue it reads there; if it is
// older (it just began, or was slow and the bounded queue moved on) it reads the tail, and before that the log.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "async/event.h"
#include "store/tail.h"
#include "store/watch.h"

namespace monopod::store {

struct WatchRange {
  std::string key{};
  std::string range_end{};
  bool prev_kv = false;
  auto operator<=>(const WatchRange&) const = default;
};

// A watcher's place. Owned by the watch, known to its group while it waits.
struct WatchPosition {
  std::int64_t next = 0;  // the first revision not delivered yet
  bool waiting = false;   // with everything its group had
  std::size_t slot = 0;   // in the group's list, while waiting
  std::function<void()> listener{};  // called when it waits no more; may be empty
};

class WatchGroup {
 public:
  WatchGroup(async::Executor executor, WatchRange watched, std::int64_t floor) : range(std::move(watched)), changed(executor), floor_(floor) {}

  // The first batch at or after position.next; null if there is none. Only when position.next >= floor().
  std::shared_ptr<const WatchEvents> find_from(std::int64_t revision) const;
  std::int64_t floor() const { return floor_; }
  void push(std::shared_ptr<const WatchEvents> batch);
  // What is to be delivered from revision on must be read elsewhere.
  void forget_until(std::int64_t revision);

  void begin_waiting(WatchPosition& position);
  void end_waiting(WatchPosition& position);
  // Everybody looks again, though nothing came.
  void wake_all();
  std::size_t waiting() const { return waiting_.size(); }

  const WatchRange range;
  async::Notify changed;
  std::size_t watchers = 0;

 private:
  void release(std::int64_t next);

  std::deque<std::shared_ptr<const WatchEvents>> queue_;
  std::vector<WatchPosition*> waiting_;
  std::int64_t floor_;
};

class WatchHub {
 public:
  explicit WatchHub(async::Executor executor) : executor_(executor) {}

  WatchGroup& join(const WatchRange& range, std::int64_t committed);
  void leave(WatchGroup& group);
  // Does someone want the previous value of this key?
  bool wants_previous(std::string_view key);
  void publish(const Committed& committed);
  void wake_all();
  std::size_t watchers() const { return watchers_; }
  std::size_t waiting() const;  // of them: those that have everything

 private:
  void find(std::string_view key, std::vector<WatchGroup*>& found);

  async::Executor executor_;
  std::map<WatchRange, std::unique_ptr<WatchGroup>> groups_;
  struct StringHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
  };
  using ByText = std::unordered_map<std::string, std::vector<WatchGroup*>, StringHash, std::equal_to<>>;
  ByText keys_;                                    // groups of one key
  ByText prefixes_;                                // groups of all keys with a prefix
  std::map<std::size_t, std::size_t> prefix_sizes_;  // length -> how many groups
  std::vector<WatchGroup*> others_;                // any other range
  std::size_t watchers_ = 0;
  std::size_t previous_wanted_ = 0;  // groups with prev_kv
};

// The event of a change; previous may be null.
WatchEvent make_event(const Change& change, const SharedBytes& previous, bool prev_kv);

}  // namespace monopod::store
