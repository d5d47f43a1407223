#include "client/informer.h"

#include "base/log.h"

namespace monopod::client {
namespace {

constexpr Duration kBackoffMin = std::chrono::milliseconds(800);
constexpr Duration kBackoffMax = std::chrono::seconds(30);
constexpr std::int64_t kPageSize = 500;

async::Task<Result<>> wait_for_ever(async::Executor executor) {
  async::Notify never(executor);
  co_return co_await never.wait();  // forever: until the scope is cancelled
}

}  // namespace

Informer::Informer(async::Executor executor, Api& api, async::Time& time, Rng& rng, Resource resource, InformerOptions options)
    : api_(api),
      time_(time),
      rng_(rng),
      resource_(resource),
      options_(std::move(options)),
      fifo_(executor, indexer_),
      synced_(executor),
      executor_(executor) {}

void Informer::add_handler(ChangeHandler handler) {
  for (const ObjectPtr& object : indexer_.list()) handler(nullptr, object);
  handlers_.push_back(std::move(handler));
}

async::Task<Result<>> Informer::run() {
  for (;;) {  // forever: until cancelled or stopped
    stopped_ = again_ = false;
    async::Scope scope(executor_);
    running_ = &scope;
    scope.spawn(reflect());
    scope.spawn(consume());
    if (options_.resync > Duration::zero()) scope.spawn(resync());
    Result<> ended = co_await scope.join();
    running_ = nullptr;
    if (!stopped_) co_return ended;
    if (!again_) co_return Result<>();
  }
}

bool Informer::resume() {
  if (!stopped_) return false;
  again_ = running_ != nullptr;
  return !again_;
}

void Informer::stop() {
  if (running_ == nullptr) return;
  again_ = false;
  stopped_ = true;
  running_->cancel();
  last_version_.clear();
  for (const ObjectPtr& object : indexer_.list()) {
    indexer_.remove(object->key());
    for (const ChangeHandler& handler : handlers_) handler(object, nullptr);
  }
  synced_.set();
}

async::Task<Result<>> Informer::reflect() {
  Duration backoff = kBackoffMin;
  for (;;) {  // forever: until cancelled
    bool made_progress = false;
    Result<> ended = co_await list_and_watch(made_progress);
    if (!ended && ended.error().code() == Code::kCancelled) co_return ended;
    if (made_progress) backoff = kBackoffMin;
    bool expected = ended || ended.error().code() == Code::kOutOfRange || ended.error().code() == Code::kUnavailable;
    if (!expected) log::warn("watch failed, retrying", {{"resource", resource_.plural}, {"why", ended.error()}});
    if (!ended && ended.error().code() == Code::kOutOfRange) last_version_.clear();
    Duration jittered = made_progress ? Duration::zero() : backoff + backoff * static_cast<int>(rng_.below(100)) / 100;
    backoff = std::min(backoff * 2, kBackoffMax);
    CO_TRY(co_await time_.sleep_for(jittered));
  }
}

async::Task<Result<std::string>> Informer::list_all() {
  std::vector<ObjectPtr> objects;
  ListOptions page{.ns = options_.ns,
                   .label_selector = options_.label_selector,
                   .field_selector = options_.field_selector,
                   .resource_version = "",
                   .limit = kPageSize,
                   .continue_token = ""};
  std::string version;
  for (;;) {
    CO_TRY_ASSIGN(ObjectList list, co_await api_.list(resource_, page));
    for (Object& object : list.items) objects.push_back(std::make_shared<const Object>(std::move(object)));
    version = std::move(list.resource_version);
    if (list.continue_token.empty()) break;
    page.continue_token = std::move(list.continue_token);
  }
  fifo_.replace(objects);
  if (objects.empty() && indexer_.size() == 0) synced_.set();
  co_return version;
}

async::Task<Result<>> Informer::list_and_watch(bool& made_progress) {
  if (last_version_.empty()) {
    CO_TRY_ASSIGN(last_version_, co_await list_all());
    made_progress = true;
  }
  WatchOptions options{.ns = options_.ns,
                       .label_selector = options_.label_selector,
                       .field_selector = options_.field_selector,
                       .resource_version = last_version_};
  CO_TRY_ASSIGN(std::unique_ptr<Watch> watch, co_await api_.watch(resource_, options));
  for (;;) {  // forever: the server ends the watch
    CO_TRY_ASSIGN(WatchEvent event, co_await watch->next());
    made_progress = true;
    last_version_ = event.object.resource_version;
    if (event.type == EventType::kBookmark) continue;
    DeltaType type = event.type == EventType::kAdded     ? DeltaType::kAdded
                     : event.type == EventType::kDeleted ? DeltaType::kDeleted
                                                         : DeltaType::kUpdated;
    fifo_.add(type, std::make_shared<const Object>(std::move(event.object)));
  }
}

async::Task<Result<>> Informer::consume() {
  for (;;) {  // forever: until cancelled
    CO_TRY_ASSIGN(std::vector<Delta> deltas, co_await fifo_.pop());
    for (const Delta& delta : deltas) apply(delta);
    if (fifo_.has_synced()) synced_.set();
  }
}

async::Task<Result<>> Informer::resync() {
  for (;;) {  // forever: until cancelled
    CO_TRY(co_await time_.sleep_for(options_.resync));
    fifo_.resync();
  }
}

void Informer::apply(const Delta& delta) {
  ObjectPtr old;
  ObjectPtr now;
  if (delta.type == DeltaType::kDeleted) {
    old = indexer_.remove(delta.object->key());
    if (!old) return;
  } else if (delta.type == DeltaType::kSync) {
    old = now = indexer_.find(delta.object->key());
    if (!now) return;
  } else {
    now = delta.object;
    old = indexer_.put(now);
    // A relist repeats what is known; handlers hear of it only if it differs.
    if (delta.type == DeltaType::kReplaced && old && old->resource_version == now->resource_version && old->uid == now->uid)
      return;
  }
  for (const ChangeHandler& handler : handlers_) handler(old, now);
}

InformerFactory::InformerFactory(async::Executor executor, Api& api, async::Time& time, Rng& rng)
    : executor_(executor), api_(api), time_(time), rng_(rng), scope_(executor) {}

InformerFactory::~InformerFactory() = default;

Informer& InformerFactory::informer(const Resource& resource, InformerOptions options) {
  for (auto& existing : informers_)
    if (existing->resource() == resource && existing->options() == options) {
      if (existing->resume() && running_) scope_.spawn(existing->run());
      return *existing;
    }
  informers_.push_back(std::make_unique<Informer>(executor_, api_, time_, rng_, resource, std::move(options)));
  if (running_) scope_.spawn(informers_.back()->run());
  return *informers_.back();
}

void InformerFactory::drop(const Resource& resource) {
  for (auto& informer : informers_)
    if (informer->resource() == resource) informer->stop();
}

async::Task<Result<>> InformerFactory::run() {
  running_ = true;
  for (auto& informer : informers_) scope_.spawn(informer->run());
  scope_.spawn(wait_for_ever(executor_));  // informers may come later
  co_return co_await scope_.join();
}

async::Task<Result<>> InformerFactory::wait_synced() {
  for (std::size_t i = 0; i < informers_.size(); ++i) {
    Informer& informer = *informers_[i];
    CO_TRY(co_await informer.wait_synced());
  }
  co_return Result<>();
}

}  // namespace monopod::client
