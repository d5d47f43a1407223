#include "api/cache/watch_cache.h"

#include <utility>

#include "api/crd/settle.h"
#include "api/limits.h"
#include "api/scan.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

constexpr std::size_t kQueueKept = 16;  // places that a reader who keeps up leaves allocated

// What a change is to someone who sees only a part of the objects: nothing, or entering, moving within, leaving it.
std::optional<EventType> seen_as(const Selection& selection, const CachedEvent& event) {
  bool now = event.type != EventType::kDeleted && selection.matches(*event.object);
  bool before = event.previous != nullptr && selection.matches(*event.previous);
  if (now && before) return EventType::kModified;
  if (now) return EventType::kAdded;
  if (before) return EventType::kDeleted;
  return std::nullopt;
}

// What leaves a selection is shown as it was when it still belonged to it.
ObjectPtr shown_as(EventType type, const CachedEvent& event, const std::vector<std::string_view>& fields) {
  if (type != EventType::kDeleted || event.type == EventType::kDeleted) return event.object;
  ObjectPtr left = with_revision(*event.previous, event.revision, fields);
  return left ? left : event.object;
}

}  // namespace

std::string_view event_type_name(EventType type) {
  switch (type) {
    case EventType::kAdded: return "ADDED";
    case EventType::kModified: return "MODIFIED";
    case EventType::kDeleted: return "DELETED";
    case EventType::kBookmark: return "BOOKMARK";
  }
  return "ERROR";
}

ObjectPtr with_revision(const Object& object, std::int64_t revision, const std::vector<std::string_view>& fields) {
  const std::string& text = *object.json();
  std::string_view old = scan_path(text, "metadata.resourceVersion");
  if (old.empty()) {
    auto made = Object::from_store(text, revision, fields);
    return made ? *made : nullptr;
  }
  auto at = static_cast<std::size_t>(old.data() - text.data());
  std::string changed = cat(std::string_view(text).substr(0, at), '"', revision, '"', std::string_view(text).substr(at + old.size()));
  auto made = Object::parse(share(std::move(changed)), revision, fields);
  return made ? *made : nullptr;
}

// --- Watcher

Watcher::Watcher(WatchCache* cache, async::Executor executor, Selection selection, std::shared_ptr<const FrameForm> form)
    : cache_(cache), selection_(std::move(selection)), form_(std::move(form)), changed_(executor) {
  position_ = cache_->watchers_.insert(cache_->watchers_.end(), this);
}

Watcher::~Watcher() {
  if (cache_) cache_->watchers_.erase(position_);
}

void Watcher::push(Item item) {
  if (closed_) return;
  if (sink_ != nullptr && empty() && !holding_ && item.frame && sink_->take_frame(item.frame)) {
    delivered_revision_ = item.event.revision;
    return;
  }
  std::size_t bytes = item.frame ? item.frame->size() : (item.event.object ? item.event.object->json()->size() : 0);
  bool many = queue_.size() - first_ >= kWatcherEventsMax && queue_bytes_ + bytes > kWatcherBytesSoftMax;
  if (many || queue_bytes_ + bytes > kWatcherBytesMax) return close(Error(Code::kOutOfRange, "too slow: the watch fell behind"));
  queue_bytes_ += bytes;
  (holding_ ? held_ : queue_).push_back(std::move(item));
  changed_.wake_all();
}

async::Task<Result<>> Watcher::wait(FrameSink& sink) {
  struct Bound {
    FrameSink*& at;
    ~Bound() { at = nullptr; }
  } bound{sink_};
  sink_ = &sink;
  co_return co_await changed_.wait();
}

void Watcher::close(Error why) {
  if (!closed_) closed_ = std::move(why);
  queue_ = {};
  held_ = {};
  first_ = 0;
  queue_bytes_ = 0;
  changed_.wake_all();
}

void Watcher::release() {
  holding_ = false;
  for (Item& item : held_) queue_.push_back(std::move(item));
  held_ = {};
  changed_.wake_all();
}

void Watcher::push_bookmark(std::int64_t revision, bool initial_events_end) {
  Item item;
  item.event.type = EventType::kBookmark;
  item.event.revision = revision;
  item.event.initial_events_end = initial_events_end;
  if (form_) item.frame = form_->encode_bookmark(revision, initial_events_end);
  push(std::move(item));
}

async::Task<Result<WatchEvent>> Watcher::next() {
  while (empty()) {
    if (closed_) co_return fail(*closed_);
    CO_TRY(co_await changed_.wait());
  }
  co_return *try_next();
}

std::optional<WatchEvent> Watcher::try_next() {
  if (empty()) return std::nullopt;
  Item item = std::move(queue_[first_++]);
  WatchEvent event = std::move(item.event);
  if (empty()) {
    if (queue_.capacity() > kQueueKept) queue_ = {};
    else queue_.clear();
    first_ = 0;
    queue_bytes_ = 0;
  } else if (first_ >= kQueueKept && first_ * 2 >= queue_.size()) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(std::exchange(first_, 0)));
  }
  delivered_revision_ = event.revision;
  return event;
}

Result<std::vector<Watcher::Item>> Watcher::take() {
  if (empty() && closed_) return fail(*closed_);
  std::vector<Item> out = std::exchange(queue_, {});
  out.erase(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(std::exchange(first_, 0)));
  queue_bytes_ = 0;
  if (!out.empty()) delivered_revision_ = out.back().event.revision;
  return out;
}

// --- WatchCache

WatchCache::WatchCache(async::Executor executor, const Resource& resource, std::size_t ring_events_max)
    : executor_(executor), resource_(&resource), ring_events_max_(ring_events_max), fields_(cached_fields(resource)) {}

WatchCache::~WatchCache() {
  for (Watcher* watcher : watchers_) {
    watcher->cache_ = nullptr;
    if (!watcher->closed_) watcher->closed_ = Error(Code::kUnavailable, "the server shuts down");
    watcher->changed_.wake_all();
  }
}

ObjectPtr WatchCache::find(std::string_view key) const {
  auto it = objects_.find(key);
  return it == objects_.end() ? nullptr : *it;
}

ObjectSet::const_iterator WatchCache::first_of(std::string_view ns) const {
  return ns.empty() ? objects_.begin() : objects_.lower_bound(std::string_view(cat(ns, '/')));
}

Result<ObjectPtr> WatchCache::read(std::string_view stored, std::int64_t revision) const {
  if (const crd::CustomResource* custom = resource_->custom(); custom != nullptr && custom->uniform) {
    TRY_ASSIGN(std::string settled, crd::settle_stored(stored, *custom));
    return Object::from_store(settled, revision, fields_);
  }
  return Object::from_store(stored, revision, fields_);
}

void WatchCache::rebind(const Resource& resource, std::shared_ptr<const void> keep) {
  resource_ = &resource;
  std::swap(keep_, keep);
  ++generation_;
}

void WatchCache::refresh(std::string_view key) {
  auto it = objects_.find(key);
  const crd::CustomResource* custom = resource_->custom();
  if (it == objects_.end() || custom == nullptr || !custom->uniform) return;
  auto settled = crd::settle_stored(*(*it)->json(), *custom);
  if (!settled) return;
  auto now = Object::parse(share(std::move(*settled)), (*it)->revision(), fields_);
  if (!now) return;
  auto node = objects_.extract(it);
  node.value() = std::move(*now);
  objects_.insert(std::move(node));
}

void WatchCache::close_watchers() {
  for (Watcher* watcher : watchers_) {
    if (!watcher->closed_) watcher->closed_ = Error(Code::kUnavailable, "the definition of this kind changed");
    watcher->changed_.wake_all();
  }
}

void WatchCache::end_snapshot(std::int64_t revision) {
  in_snapshot_ = false;
  snapshot_ = revision;
  set_ring_floor(revision);
  std::vector<Held> held;
  held.swap(behind_snapshot_);
  for (Held& one : held) {
    if (one.object) put(std::move(one.object));
    else remove(one.key, one.revision);
  }
}

void WatchCache::set_ring_floor(std::int64_t revision) {
  ring_.clear();
  ring_bytes_ = 0;
  ring_floor_ = revision;
}

void WatchCache::load(ObjectPtr object) {
  ++generation_;
  auto it = objects_.find(object->key());
  if (it != objects_.end()) objects_.erase(it);
  objects_.insert(std::move(object));
}

void WatchCache::put(ObjectPtr object) {
  if (in_snapshot_) {
    std::int64_t revision = object->revision();
    behind_snapshot_.push_back({std::move(object), {}, revision});
    return;
  }
  if (object->revision() <= snapshot_) return;
  CachedEvent event{EventType::kAdded, object->revision(), object, nullptr};
  auto it = objects_.find(object->key());
  if (it != objects_.end()) {
    event.type = EventType::kModified;
    event.previous = *it;
    auto node = objects_.extract(it);
    node.value() = std::move(object);
    objects_.insert(std::move(node));
  } else {
    objects_.insert(std::move(object));
  }
  publish(std::move(event));
}

void WatchCache::remove(std::string_view key, std::int64_t revision) {
  if (in_snapshot_) {
    behind_snapshot_.push_back({nullptr, std::string(key), revision});
    return;
  }
  if (revision <= snapshot_) return;
  auto it = objects_.find(key);
  if (it == objects_.end()) return;
  CachedEvent event{EventType::kDeleted, revision, with_revision(**it, revision, fields_), *it};
  objects_.erase(it);
  if (event.object) publish(std::move(event));
}

void WatchCache::publish(CachedEvent event) {
  ++generation_;
  struct Memo {
    std::uint64_t form;
    EventType type;
    SharedBytes frame;
  };
  std::vector<Memo> memo;
  ObjectPtr left;
  for (Watcher* watcher : watchers_) {
    std::optional<EventType> type = seen_as(watcher->selection_, event);
    if (!type) continue;
    bool leaves = *type == EventType::kDeleted && event.type != EventType::kDeleted;
    if (leaves && !left) left = shown_as(*type, event, fields_);
    Watcher::Item item{{*type, leaves ? left : event.object, event.revision, false}, nullptr};
    if (watcher->form_) {
      std::uint64_t id = watcher->form_->id();
      for (const Memo& known : memo)
        if (known.form == id && known.type == *type) item.frame = known.frame;
      if (!item.frame) {
        item.frame = watcher->form_->encode(*type, *item.event.object);
        memo.push_back({id, *type, item.frame});
      }
    }
    watcher->push(std::move(item));
  }
  ring_bytes_ += event.object->json()->size();
  ring_.push_back(std::move(event));
  while (ring_.size() > ring_events_max_ || (ring_bytes_ > kRingBytesMax && ring_.size() > 1)) {
    ring_floor_ = ring_.front().revision;
    ring_bytes_ -= ring_.front().object->json()->size();
    ring_.pop_front();
  }
}

std::unique_ptr<Watcher> WatchCache::subscribe(Selection selection, std::shared_ptr<const FrameForm> form) {
  return std::unique_ptr<Watcher>(new Watcher(this, executor_, std::move(selection), std::move(form)));
}

void WatchCache::replay(Watcher& watcher, const CachedEvent& event) {
  std::optional<EventType> type = seen_as(watcher.selection_, event);
  if (!type) return;
  Watcher::Item item{{*type, shown_as(*type, event, cached_fields(*watcher.selection_.resource)), event.revision, false}, nullptr};
  watcher.queue_.push_back(std::move(item));  // what is replayed is not bounded by the queue: it is bounded by the log and the ring
  watcher.changed_.wake_all();
}

void WatchCache::replay_ring(Watcher& watcher, std::int64_t after) const {
  for (const CachedEvent& event : ring_)
    if (event.revision > after) replay(watcher, event);
}

}  // namespace monopod::api
