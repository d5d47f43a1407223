#include "client/recorder.h"

#include <algorithm>
#include <cstdio>

#include "base/log.h"
#include "base/strings.h"

namespace monopod::client {
namespace {

constexpr std::size_t kPendingMax = 1000;
constexpr std::size_t kKnownMax = 4096;
constexpr std::size_t kSimilarMax = 10;                             // as client-go: messages of one reason before they are combined
constexpr Duration kSimilarWithin = std::chrono::minutes(10);
constexpr double kBurst = 25;
constexpr double kRefillSeconds = 300;  // one token

std::string aggregation_key(const ObjectReference& about, const std::string& type, const std::string& reason,
                            const std::string& message) {
  return cat(about.kind, '\0', about.ns, '\0', about.name, '\0', about.uid, '\0', about.field_path, '\0', type, '\0', reason, '\0',
             message);
}

}  // namespace

ObjectReference reference_to(const Resource& resource, const Object& object) {
  return {.api_version = resource.api_version(),
          .kind = std::string(resource.kind),
          .ns = object.ns,
          .name = object.name,
          .uid = object.uid,
          .resource_version = object.resource_version,
          .field_path = ""};
}

EventRecorder::EventRecorder(async::Executor executor, Api& api, async::Time& time, Rng& rng, std::string component,
                             std::string host)
    : api_(api), time_(time), rng_(rng), component_(std::move(component)), host_(std::move(host)), pending_(executor, kPendingMax) {}

bool EventRecorder::allowed(const std::string& object) {
  MonoTime now = time_.mono();
  auto [it, fresh] = buckets_.try_emplace(object, Bucket{kBurst, now});
  Bucket& bucket = it->second;
  std::chrono::duration<double> passed = now - bucket.filled;
  bucket.tokens = std::min(kBurst, bucket.tokens + passed.count() / kRefillSeconds);
  bucket.filled = now;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  if (buckets_.size() > kKnownMax) buckets_.clear();
  return true;
}

void EventRecorder::record(ObjectReference about, std::string type, std::string reason, std::string message) {
  if (!allowed(cat(about.ns, "/", about.name, "/", about.uid))) return;
  WallTime now = time_.wall();
  pending_.try_push({std::move(about), std::move(type), std::move(reason), std::move(message), now});
}

async::Task<Result<>> EventRecorder::run() {
  for (;;) {  // forever: until cancelled
    CO_TRY_ASSIGN(Pending event, co_await pending_.pop());
    std::string reason = event.reason;
    Result<> sent = co_await send(std::move(event));
    if (sent) continue;
    if (sent.error().code() == Code::kCancelled) co_return sent;
    log::debug("event not recorded", {{"reason", reason}, {"why", sent.error()}});
  }
}

// The time in nanoseconds, as upstream: a list of events is in the order of their names, and kubectl describe prints it so. The last
// ten bits keep apart what two recorders say at once.
std::string EventRecorder::name_suffix(WallTime at) {
  auto since = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(at.time_since_epoch()).count());
  constexpr std::uint64_t kRandom = 0x3ff;
  last_suffix_ = std::max((since & ~kRandom) | (rng_.next() & kRandom), last_suffix_ + 1);
  char text[20];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(last_suffix_));
  return text;
}

async::Task<bool> EventRecorder::count_again(const std::string& key, const Pending& event) {
  auto it = known_.find(key);
  if (it == known_.end()) co_return false;
  Known known = it->second;
  ++known.count;
  json::Object patch{{"count", known.count}, {"lastTimestamp", format_rfc3339(event.at)}, {"message", event.message}};
  auto patched = co_await api_.patch(resources::kEvents, known.ns, known.name, PatchType::kStrategicMerge, std::move(patch), {});
  if (!patched) {
    known_.erase(key);  // it aged out on the server: make a new one
    co_return false;
  }
  known_[key] = known;
  co_return true;
}

void EventRecorder::remember(const std::string& key, Known known) {
  if (known_.insert_or_assign(key, std::move(known)).second) known_order_.push_back(key);
  while (known_order_.size() > kKnownMax) {
    known_.erase(known_order_.front());
    known_order_.pop_front();
  }
}

// Many messages about one thing for one reason become one event, as client-go's aggregator makes them.
void EventRecorder::aggregate(Pending& event) {
  MonoTime now = time_.mono();
  std::string group = aggregation_key(event.about, event.type, event.reason, "");
  Similar& similar = similar_[group];
  if (now - similar.last > kSimilarWithin) similar.messages.clear();
  similar.last = now;
  similar.messages.insert(event.message);
  if (similar.messages.size() >= kSimilarMax) {
    similar.messages.erase(similar.messages.begin());
    event.combined = true;
    event.message = cat("(combined from similar events): ", event.message);
  }
  if (similar_.size() > kKnownMax) similar_.clear();
}

async::Task<Result<>> EventRecorder::send(Pending event) {
  aggregate(event);
  std::string key = aggregation_key(event.about, event.type, event.reason, event.combined ? std::string() : event.message);
  bool counted = co_await count_again(key, event);
  if (counted) co_return Result<>();
  std::string ns = event.about.ns.empty() ? "default" : event.about.ns;
  std::string name = cat(event.about.name, ".", name_suffix(event.at));
  std::string at = format_rfc3339(event.at);
  json::Object involved{{"apiVersion", event.about.api_version}, {"kind", event.about.kind}, {"name", event.about.name}};
  for (auto [field, value] : {std::pair{"namespace", &event.about.ns}, {"uid", &event.about.uid},
                              {"resourceVersion", &event.about.resource_version}, {"fieldPath", &event.about.field_path}})
    if (!value->empty()) involved[field] = *value;
  json::Object source{{"component", component_}};
  if (!host_.empty()) source["host"] = host_;
  json::Object body{{"apiVersion", "v1"},
                    {"kind", "Event"},
                    {"metadata", json::Object{{"name", name}, {"namespace", ns}}},
                    {"involvedObject", std::move(involved)},
                    {"reason", event.reason},
                    {"message", event.message},
                    {"source", std::move(source)},
                    {"firstTimestamp", at},
                    {"lastTimestamp", at},
                    {"count", 1},
                    {"type", event.type},
                    {"reportingComponent", component_},
                    {"reportingInstance", host_}};
  CO_TRY(co_await api_.create(resources::kEvents, ns, std::move(body), {}));
  remember(key, {ns, name, 1});
  co_return Result<>();
}

}  // namespace monopod::client
