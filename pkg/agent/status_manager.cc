#include "agent/status_manager.h"

#include <algorithm>

#include "agent/race.h"
#include "base/log.h"
#include "base/strings.h"
#include "client/meta.h"

namespace monopod::agent {

namespace {

constexpr Duration kRetryFirst = std::chrono::milliseconds(200);
constexpr Duration kRetryMax = std::chrono::seconds(10);

constexpr std::string_view kOwnConditions[] = {"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"};

}  // namespace

json::Value make_status_patch(const std::string& uid, const json::Value& written, const json::Value& status) {
  json::Object out;
  for (const auto& member : status.get_object()) out[member.key()] = member.value();
  if (const json::Object* before = written.if_object())
    for (const auto& member : *before)
      if (!out.contains(member.key())) out[member.key()] = nullptr;
  if (json::Value* conditions = out.if_contains("conditions"); conditions && conditions->is_array()) {
    json::Array own;
    for (const json::Value& c : conditions->get_array()) {
      if (std::ranges::find(kOwnConditions, json::get_string(c, {"type"})) == std::end(kOwnConditions)) continue;
      own.push_back(c);
      for (const char* text : {"reason", "message"})  // conditions are merged by type: what is not said would stay
        if (!json::find(c, {text})) own.back().get_object()[text] = nullptr;
    }
    *conditions = std::move(own);
  }
  // Lists merged by key would keep addresses that are gone.
  for (const char* list : {"podIPs", "hostIPs"})
    if (json::Value* ips = out.if_contains(list); ips && ips->is_array()) ips->get_array().push_back(json::Object{{"$patch", "replace"}});
  json::Object patch{{"status", std::move(out)}};
  if (!uid.empty()) patch["metadata"] = json::Object{{"uid", uid}};
  return patch;
}

StatusManager::StatusManager(async::Executor executor, client::Api& api, async::Time& time) : api_(api), time_(time), changed_(executor), written_(executor) {}

void StatusManager::set(const std::string& ns, const std::string& name, const std::string& uid, json::Value status) {
  Entry& e = entries_[cat(ns, "/", name)];
  if (e.uid != uid) e = Entry{.writing = e.writing};
  e.uid = uid;
  e.status = std::move(status);
  e.dirty = true;
  e.retry_at = MonoTime{};
  changed_.set();
}

void StatusManager::forget(const std::string& ns, const std::string& name) { entries_.erase(cat(ns, "/", name)); }

async::Task<> StatusManager::flush(std::string ns, std::string name) {
  std::string key = cat(ns, "/", name);
  auto found = entries_.find(key);
  if (found != entries_.end() && (found->second.dirty || found->second.writing)) (void)co_await write(key);
}

async::Task<Result<>> StatusManager::write(std::string key) {
  auto found = entries_.find(key);
  // One write of a pod at a time: an older one must not arrive after a newer one.
  while (found != entries_.end() && found->second.writing) {
    CO_TRY(co_await written_.wait());
    found = entries_.find(key);
  }
  if (found == entries_.end() || !found->second.dirty) co_return Result<>();
  found->second.writing = true;
  struct Release {
    StatusManager& manager;
    const std::string& key;
    ~Release() {
      if (auto e = manager.entries_.find(key); e != manager.entries_.end()) e->second.writing = false;
      manager.written_.wake_all();
    }
  } release{*this, key};
  json::Value sending = found->second.status;
  json::Value patch = make_status_patch(found->second.uid, found->second.written, sending);
  found->second.dirty = false;
  auto [ns, name] = client::split_key(key);
  auto written = co_await api_.patch(client::resources::kPods, ns, name, client::PatchType::kStrategicMerge, std::move(patch),
                                     {.subresource = "status", .field_manager = "kubelet", .force = false});
  found = entries_.find(key);
  if (found == entries_.end()) co_return Result<>();
  if (written) {
    found->second.written = std::move(sending);
    found->second.wait = Duration::zero();
    co_return Result<>();
  }
  if (written.error().code() == Code::kNotFound) co_return Result<>();  // the pod is gone
  found->second.dirty = true;
  found->second.wait = std::clamp(found->second.wait * 2, kRetryFirst, kRetryMax);
  found->second.retry_at = time_.mono() + std::chrono::duration_cast<MonoTime::duration>(found->second.wait);
  co_return fail(std::move(written).error());
}

async::Task<Result<>> StatusManager::run() {
  for (;;) {  // forever: until cancelled
    changed_.reset();
    std::optional<MonoTime> next;
    std::vector<std::string> due;
    for (const auto& [key, e] : entries_) {
      if (!e.dirty) continue;
      if (e.retry_at <= time_.mono()) due.push_back(key);
      else if (!next || e.retry_at < *next) next = e.retry_at;
    }
    for (const std::string& key : due) {
      auto written = co_await write(key);
      if (!written && written.error().code() == Code::kCancelled) co_return written;
      if (!written) log::warn("cannot write a pod's status", {{"pod", key}, {"error", written.error()}});
    }
    if (!due.empty()) continue;
    CO_TRY(co_await wait_until(time_, changed_, next));
  }
}

}  // namespace monopod::agent
