#include "etcd/cluster/cluster_watch.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"

namespace monopod::etcd {

using namespace store;
using async::Task;

namespace {

constexpr Duration kPauseMin = std::chrono::milliseconds(20);
constexpr Duration kPauseMax = std::chrono::seconds(1);
constexpr std::int64_t kInvalidId = -1;
constexpr std::size_t kEventBytes = 200;  // of one event beside key and values
constexpr std::string_view kCompacted = "etcdserver: mvcc: required revision has been compacted";

std::size_t bytes_of(const std::vector<WatchEvent>& events) {
  std::size_t bytes = 0;
  for (const WatchEvent& event : events) {
    bytes += kEventBytes + event.kv.key.size() + event.kv.value->size();
    if (event.prev) bytes += event.prev->key.size() + event.prev->value->size();
  }
  return bytes;
}

}  // namespace

class ClusterWatch final : public Watch {
 public:
  ClusterWatch(ClusterWatches& watches, std::unique_ptr<WatchSlot> slot) : watches_(watches), slot_(std::move(slot)) {}
  ~ClusterWatch() override { watches_.remove(*slot_); }

  Task<Result<WatchBatch>> next() override {
    for (;;) {
      CO_TRY_ASSIGN(std::optional<WatchBatch> batch, take());
      if (batch) co_return std::move(*batch);
      CO_TRY(co_await slot_->changed.wait());
    }
  }
  Task<Result<std::optional<WatchBatch>>> try_next() override { co_return take(); }
  void set_listener(std::function<void()> listener) override { slot_->listener = std::move(listener); }
  void request_progress() override { watches_.ask_progress(*slot_); }

 private:
  Result<std::optional<WatchBatch>> take() {
    WatchSlot& slot = *slot_;
    if (!slot.queue.empty()) {
      WatchBatch batch = std::move(slot.queue.front());
      slot.queue.pop_front();
      slot.queue_bytes -= bytes_of(batch.events());
      if (slot.paused && slot.queue.empty()) watches_.resume(slot);
      return batch;
    }
    if (slot.failed) return fail(*slot.failed);
    if (slot.progress_at > 0 && slot.next > slot.progress_at) return WatchBatch{.revision = Revision(std::exchange(slot.progress_at, 0))};
    return std::nullopt;
  }

  ClusterWatches& watches_;
  std::unique_ptr<WatchSlot> slot_;
};

std::unique_ptr<Watch> ClusterWatches::add(WatchRequest request, Revision start) {
  auto slot = std::make_unique<WatchSlot>(parts_.executor, std::move(request), start.value);
  if (closed_) slot->failed = Error(Code::kUnavailable, "the store is closed");
  slots_.insert(slot.get());
  if (streaming_) create(*slot);
  slots_changed_.wake_all();
  return std::make_unique<ClusterWatch>(*this, std::move(slot));
}

void ClusterWatches::remove(WatchSlot& slot) {
  drop(slot);
  slots_.erase(&slot);
}

void ClusterWatches::close() {
  closed_ = true;
  for (WatchSlot* slot : slots_) {
    if (!slot->failed) slot->failed = Error(Code::kUnavailable, "the store is closed");
    slot->wake();
  }
}

void ClusterWatches::send(std::string message) {
  outgoing_.push_back(std::move(message));
  outgoing_changed_.wake_all();
}

void ClusterWatches::create(WatchSlot& slot) {
  if (slot.failed || slot.paused) return;
  slot.id = next_id_++;
  slot.fragments.clear();
  ids_[slot.id] = &slot;
  creating_.push_back(slot.id);
  std::string everything(1, '\0');
  send(format_watch_create({.id = slot.id, .key = everything, .range_end = everything, .start = Revision(slot.next), .prev_kv = slot.request.prev_kv}));
}

void ClusterWatches::drop(WatchSlot& slot) {
  if (slot.id == 0) return;
  ids_.erase(slot.id);
  if (streaming_) send(format_watch_cancel(slot.id));
  slot.id = 0;
  slot.fragments.clear();
}

void ClusterWatches::resume(WatchSlot& slot) {
  slot.paused = false;
  if (streaming_) create(slot);
}

Task<Result<>> ClusterWatches::run() {
  Duration pause = kPauseMin;
  for (;;) {  // forever: until cancelled
    while (slots_.empty()) CO_TRY(co_await slots_changed_.wait());
    Result<std::unique_ptr<Stream>> stream = co_await parts_.client.open("/etcdserverpb.Watch/Watch");
    if (stream) {
      MonoTime began = parts_.time.mono();
      Result<> ended = co_await async::run_scoped([this, &stream](async::Scope& scope) { return run_stream(**stream, scope); });
      log::debug("watch stream ended, watches go on elsewhere", {{"endpoint", (*stream)->endpoint()}, {"why", ended ? std::string("end of stream") : ended.error().message()}});
      if (parts_.time.mono() - began > kPauseMax) pause = kPauseMin;
    }
    CO_TRY(co_await parts_.time.sleep_for(pause));
    pause = std::min(pause * 2, kPauseMax);
  }
}

Task<Result<>> ClusterWatches::run_stream(Stream& stream, async::Scope& scope) {
  struct Streaming {
    ClusterWatches& watches;
    explicit Streaming(ClusterWatches& w) : watches(w) { watches.streaming_ = true; }
    ~Streaming() {
      watches.streaming_ = false;
      watches.ids_.clear();
      watches.creating_.clear();
      watches.outgoing_.clear();
      for (WatchSlot* slot : watches.slots_) slot->id = 0;
    }
  } streaming(*this);
  for (WatchSlot* slot : slots_) create(*slot);
  scope.spawn(write_all(stream));
  co_return co_await read_all(stream);
}

Task<Result<>> ClusterWatches::write_all(Stream& stream) {
  for (;;) {  // forever: with its stream
    while (outgoing_.empty()) CO_TRY(co_await outgoing_changed_.wait());
    std::string message = std::move(outgoing_.front());
    outgoing_.pop_front();
    CO_TRY(co_await stream.write(message));
  }
}

Task<Result<>> ClusterWatches::read_all(Stream& stream) {
  for (;;) {
    CO_TRY_ASSIGN(std::optional<std::string> message, co_await stream.read());
    if (!message) co_return Result<>();
    CO_TRY_ASSIGN(WatchAnswer answer, parse_watch_answer(*message));
    CO_TRY(take(std::move(answer)));
  }
}

Result<> ClusterWatches::take(WatchAnswer answer) {
  parts_.on_revision(answer.revision, answer.compact_revision);
  // A refusal may come without the watch's id.
  if (answer.created && !creating_.empty()) {
    if (answer.id == kInvalidId) answer.id = creating_.front();
    creating_.pop_front();
  }
  auto at = ids_.find(answer.id);
  if (at == ids_.end()) return {};  // dropped meanwhile
  WatchSlot& slot = *at->second;
  if (answer.canceled) return take_cancel(slot, answer);
  std::ranges::move(answer.events, std::back_inserter(slot.fragments));
  if (!answer.fragment) deliver(slot);
  return {};
}

Result<> ClusterWatches::take_cancel(WatchSlot& slot, const WatchAnswer& answer) {
  ids_.erase(slot.id);
  slot.id = 0;
  const std::string& reason = answer.cancel_reason;
  if (answer.compact_revision.value > 0) {
    slot.failed = Error(Code::kOutOfRange, std::string(kCompacted));
  } else if (reason.contains("permission denied")) {
    slot.failed = Error(Code::kPermissionDenied, cat("watch: ", reason, "; the user must be able to read every key"));
  } else {
    if (reason.contains("auth")) parts_.client.forget_token();
    return fail(Code::kUnavailable, cat("watch canceled: ", reason));  // all of them, anew
  }
  slot.wake();
  return {};
}

// Cuts what came into revisions.
void ClusterWatches::deliver(WatchSlot& slot) {
  std::vector<WatchEvent> events = std::exchange(slot.fragments, {});
  for (std::size_t i = 0; i < events.size();) {
    std::int64_t revision = events[i].kv.mod.value;
    std::size_t end = i;
    while (end < events.size() && events[end].kv.mod.value == revision) ++end;
    std::vector<WatchEvent> one(std::make_move_iterator(events.begin() + static_cast<std::ptrdiff_t>(i)), std::make_move_iterator(events.begin() + static_cast<std::ptrdiff_t>(end)));
    i = end;
    if (revision < slot.next) continue;  // had it
    if (revision > slot.next && slot.gap_seen != slot.next) {
      // Should not be. Asked for again once: what compaction removed stays away.
      log::warn("watch missed a revision, asking again", {{"expected", slot.next}, {"got", revision}});
      slot.gap_seen = slot.next;
      drop(slot);
      if (streaming_) create(slot);
      break;
    }
    append(slot, revision, std::move(one));
  }
  if (slot.queue_bytes > kWatchQueueBytesMax || slot.queue.size() > kWatchQueueBatchesMax) {
    drop(slot);
    slot.paused = true;
  }
  slot.wake();
}

void ClusterWatches::append(WatchSlot& slot, std::int64_t revision, std::vector<WatchEvent> events) {
  slot.next = revision + 1;
  std::erase_if(events, [&slot](const WatchEvent& event) { return !in_range(event.kv.key, slot.request.key, slot.request.range_end); });
  if (events.empty()) return;
  slot.queue_bytes += bytes_of(events);
  auto shared = std::make_shared<const WatchEvents>(WatchEvents{.revision = Revision(revision), .events = std::move(events)});
  slot.queue.push_back({.revision = Revision(revision), .shared = std::move(shared)});
}

void ClusterWatches::ask_progress(WatchSlot& slot) {
  slot.progress_wanted = true;
  progress_asked_.wake_all();
}

Task<Result<>> ClusterWatches::run_progress() {
  auto wanted = [this] { return std::ranges::any_of(slots_, [](const WatchSlot* slot) { return slot->progress_wanted; }); };
  for (;;) {  // forever: until cancelled
    while (!wanted()) CO_TRY(co_await progress_asked_.wait());
    std::set<WatchSlot*> asking;
    for (WatchSlot* slot : slots_)
      if (slot->progress_wanted) asking.insert(slot);
    for (WatchSlot* slot : asking) slot->progress_wanted = false;
    Result<Revision> newest = co_await parts_.newest_revision();
    for (WatchSlot* slot : slots_) {
      if (!asking.contains(slot)) continue;  // gone meanwhile, or a later request
      if (!newest) {
        slot->progress_wanted = true;
        continue;
      }
      slot->progress_at = std::max(slot->progress_at, newest->value);
      slot->wake();
    }
    if (!newest) CO_TRY(co_await parts_.time.sleep_for(kPauseMax));
  }
}

}  // namespace monopod::etcd
