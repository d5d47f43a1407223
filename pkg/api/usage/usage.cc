#include "api/usage/usage.h"

#include <algorithm>

#include "api/limits.h"
#include "api/quantity/quantity.h"
#include "api/registry/registry.h"
#include "base/log.h"
#include "base/strings.h"
#include "http/in_process.h"

namespace monopod::api {
namespace {

constexpr Duration kFresh = std::chrono::seconds(5);
constexpr Duration kWindowMin = std::chrono::seconds(1);
constexpr Duration kWindowMax = std::chrono::seconds(60);
constexpr Duration kNodeTimeout = std::chrono::seconds(10);

// Go's time.Duration as text, to the millisecond: "15.004s", "1m0.5s".
std::string window_text(Duration window) {
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(window).count();
  std::string out = ms >= 60'000 ? cat(ms / 60'000, 'm') : std::string();
  out += std::to_string(ms % 60'000 / 1000);
  if (std::string fraction = std::to_string(ms % 1000 + 1000).substr(1); fraction != "000") out += cat('.', fraction.substr(0, fraction.find_last_not_of('0') + 1));
  return out + "s";
}

json::Object usage_json(std::uint64_t nanocores, std::uint64_t memory_bytes) {
  auto cpu = parse_quantity(cat(nanocores, 'n'));
  return json::Object{{"cpu", cpu ? cpu->text() : std::string("0")},
                      {"memory", Quantity::of(static_cast<std::int64_t>(memory_bytes), Quantity::Format::kBinarySi).text()}};
}

json::Object meta_of(const Object& object, WallTime now) {
  json::Object meta{{"creationTimestamp", format_rfc3339(now)}};
  json::Object labels;
  for (const auto& [key, value] : object.labels()) labels[key] = value;
  if (!labels.empty()) meta["labels"] = std::move(labels);
  meta["name"] = object.name();
  if (!object.ns().empty()) meta["namespace"] = object.ns();
  return meta;
}

// Nothing for a document that is none: what a node says is not trusted to be sound.
ObjectPtr finished(json::Object document, const Selection& selection) {
  auto object = Object::parse(share(json::format(json::Value(std::move(document)))));
  return object && selection.matches(**object) ? *object : nullptr;
}

std::uint64_t number(const json::Value& value, std::initializer_list<std::string_view> path) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(json::get_int(value, path), 0));
}

}  // namespace

UsageMetrics::UsageMetrics(async::Executor executor, CacheSet& caches, NodeHandlers& nodes, async::Time& time)
    : executor_(executor), caches_(caches), nodes_(nodes), time_(time), free_(executor) {}

async::Task<Outcome<std::vector<ObjectPtr>>> UsageMetrics::list(Selection selection) {
  CO_OUT(co_await refresh());
  CO_OUT(co_await caches_.fresh());
  co_return selection.resource->namespaced ? pod_objects(selection) : node_objects(selection);
}

async::Task<Result<>> UsageMetrics::refresh() {
  while (busy_) CO_TRY(co_await free_.wait());  // forever: the one who reads has timeouts
  if (known_ && time_.mono() - last_.taken < kFresh) co_return Result<>();
  struct Turn {
    UsageMetrics& owner;
    explicit Turn(UsageMetrics& o) : owner(o) { owner.busy_ = true; }
    ~Turn() {
      owner.busy_ = false;
      owner.free_.wake_all();
    }
  } turn(*this);
  co_return co_await read_all();
}

async::Task<Result<>> UsageMetrics::read_all() {
  Sample before = std::move(last_);
  last_ = {};
  bool usable = known_ && time_.mono() - before.taken <= kWindowMax;
  known_ = false;
  if (!usable) {
    CO_TRY_ASSIGN(before, co_await take_sample());
    CO_TRY(co_await time_.sleep_for(kWindowMin));
  }
  CO_TRY_ASSIGN(last_, co_await take_sample());
  auto rates = [](const Readings& from, const Readings& to) {
    Usages out;
    for (const auto& [key, now] : to) {
      auto found = from.find(key);
      Reading was;  // what was not there counts from its start
      if (found != from.end() && found->second.started == now.started) was = found->second;
      else if (auto started = parse_rfc3339(now.started)) was.at = *started;
      if (was.at == WallTime{} || now.cpu_ns < was.cpu_ns || now.at - was.at < kWindowMin) continue;
      Duration window = now.at - was.at;
      double seconds = std::chrono::duration<double>(window).count();
      out[key] = {static_cast<std::uint64_t>(static_cast<double>(now.cpu_ns - was.cpu_ns) / seconds), now.memory_bytes, now.at, window};
    }
    return out;
  };
  node_usage_ = rates(before.nodes, last_.nodes);
  container_usage_ = rates(before.containers, last_.containers);
  known_ = true;
  co_return Result<>();
}

async::Task<Result<UsageMetrics::Sample>> UsageMetrics::take_sample() {
  Sample sample;
  std::vector<std::string> names;
  if (WatchCache* cache = caches_.find("", "nodes"))
    for (const ObjectPtr& node : cache->objects()) names.emplace_back(node->name());
  async::Scope readers(executor_);
  for (std::string& name : names) readers.spawn(read_node(std::move(name), sample));
  CO_TRY(co_await readers.join());
  sample.taken = time_.mono();
  co_return sample;
}

// A node that does not answer has no figures, and takes none away from the others.
async::Task<Result<>> UsageMetrics::read_node(std::string name, Sample& into) {
  http::Handler* handler = nodes_.find(name);
  if (handler == nullptr) co_return Result<>();
  async::Scope background(executor_);
  http::Request request;
  request.method = "GET";
  request.target = "/stats/summary";
  Result<http::Response> response = co_await async::with_timeout<http::Response>(time_, kNodeTimeout, "node statistics", http::call_in_process(background, *handler, std::move(request)));
  Result<std::string> body = fail(Code::kUnavailable, "no answer");
  if (response && response->status == 200) body = co_await response->body->read_all(kNodeStatsBytesMax);
  if (response) response->body.reset();
  background.cancel();
  (void)co_await background.join();
  auto tree = body ? json::parse(*body) : Result<json::Value>(fail(body.error()));
  if (!tree) {
    log::warn("no usage figures of a node", {{"node", name}, {"error", tree.error()}});
    co_return Result<>();
  }
  WallTime at = time_.wall();  // the document's own times are whole seconds
  auto reading = [at](const json::Value& from) {
    return Reading{.at = at, .cpu_ns = number(from, {"cpu", "usageCoreNanoSeconds"}), .memory_bytes = number(from, {"memory", "workingSetBytes"}), .started = std::string(json::get_string(from, {"startTime"}))};
  };
  if (const json::Value* node = json::find(*tree, {"node"})) into.nodes[name] = reading(*node);
  if (const json::Array* pods = json::get_array(*tree, {"pods"}))
    for (const json::Value& pod : *pods)
      if (const json::Array* containers = json::get_array(pod, {"containers"}))
        for (const json::Value& container : *containers)
          into.containers[cat(json::get_string(pod, {"podRef", "namespace"}), '/', json::get_string(pod, {"podRef", "name"}), '/', json::get_string(container, {"name"}))] = reading(container);
  co_return Result<>();
}

std::vector<ObjectPtr> UsageMetrics::node_objects(const Selection& selection) const {
  std::vector<ObjectPtr> out;
  WatchCache* cache = caches_.find("", "nodes");
  if (cache == nullptr) return out;
  for (const ObjectPtr& node : cache->objects()) {
    auto found = node_usage_.find(node->name());
    if (found == node_usage_.end()) continue;
    const Usage& u = found->second;
    json::Object document{{"apiVersion", "metrics.k8s.io/v1beta1"}, {"kind", "NodeMetrics"}, {"metadata", meta_of(*node, time_.wall())},
                          {"timestamp", format_rfc3339(u.at)}, {"usage", usage_json(u.nanocores, u.memory_bytes)}, {"window", window_text(u.window)}};
    if (ObjectPtr object = finished(std::move(document), selection)) out.push_back(std::move(object));
  }
  return out;
}

std::vector<ObjectPtr> UsageMetrics::pod_objects(const Selection& selection) const {
  std::vector<ObjectPtr> out;
  WatchCache* cache = caches_.find("", "pods");
  if (cache == nullptr) return out;
  for (auto it = cache->first_of(selection.ns); it != cache->objects().end(); ++it) {
    const Object& pod = **it;
    if (!selection.ns.empty() && pod.ns() != selection.ns) break;
    std::string prefix = cat(pod.key(), '/');
    json::Array containers;
    const Usage* oldest = nullptr;
    for (auto u = container_usage_.lower_bound(prefix); u != container_usage_.end() && u->first.starts_with(prefix); ++u) {
      containers.push_back(json::Object{{"name", std::string_view(u->first).substr(prefix.size())}, {"usage", usage_json(u->second.nanocores, u->second.memory_bytes)}});
      if (oldest == nullptr || u->second.at < oldest->at) oldest = &u->second;
    }
    if (oldest == nullptr) continue;
    json::Object document{{"apiVersion", "metrics.k8s.io/v1beta1"}, {"containers", std::move(containers)}, {"kind", "PodMetrics"}, {"metadata", meta_of(pod, time_.wall())},
                          {"timestamp", format_rfc3339(oldest->at)}, {"window", window_text(oldest->window)}};
    if (ObjectPtr object = finished(std::move(document), selection)) out.push_back(std::move(object));
  }
  return out;
}

}  // namespace monopod::api
