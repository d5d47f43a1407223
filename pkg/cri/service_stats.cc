// What containers and pods use.
#include <chrono>

#include "base/strings.h"
#include "cri/messages.h"
#include "cri/describe.h"
#include "cri/service.h"

namespace monopod::cri {
namespace {

using async::Task;

constexpr Duration kSampleMin = std::chrono::seconds(1);  // shorter windows tell of noise

json::Object wrap(std::uint64_t value) { return {{"value", value}}; }

json::Object memory_usage(const container::ContainerStats& stats) {
  const sys::CgroupStats& s = stats.cgroup;
  json::Object out{{"timestamp", nanos(stats.at)}, {"working_set_bytes", wrap(s.memory_working_set_bytes)}, {"usage_bytes", wrap(s.memory_usage_bytes)}, {"rss_bytes", wrap(s.memory_rss_bytes)},
                   {"page_faults", wrap(s.memory_page_faults)}, {"major_page_faults", wrap(s.memory_major_page_faults)}};
  if (s.memory_limit_bytes > s.memory_working_set_bytes) out["available_bytes"] = wrap(s.memory_limit_bytes - s.memory_working_set_bytes);
  return out;
}

template <typename T>
json::Object attributes_of(const T& item) {
  json::Object out{{"id", item.id}};
  for (std::string_view name : {"metadata", "labels", "annotations"})
    if (const json::Value* found = json::find(item.config, {name})) out[name] = *found;
  return out;
}

}  // namespace

json::Value Service::cpu_usage(const std::string& id, const container::ContainerStats& stats) {
  Sample& last = samples_[id];
  std::uint64_t usage = stats.cgroup.cpu_usage_ns;
  if (last.at == WallTime{} || usage < last.usage_ns) {
    last = {usage, stats.at, 0};
  } else if (auto window = stats.at - last.at; window >= kSampleMin) {
    auto rate = static_cast<long double>(usage - last.usage_ns) * 1e9L / static_cast<long double>(window.count());
    last = {usage, stats.at, static_cast<std::uint64_t>(rate)};
  }
  return json::Object{{"timestamp", nanos(stats.at)}, {"usage_core_nano_seconds", wrap(usage)}, {"usage_nano_cores", wrap(last.nano_cores)}};
}

// Asks the kernel about each, then has it told.
Task<Result<json::Value>> Service::measure(std::vector<ContainerPtr> which, std::function<json::Value(const Usages&)> tell) {
  Usages usages;
  for (ContainerPtr& c : which) {
    Usage& usage = usages.emplace_back(Usage{.container = c, .stats = {}});
    if (auto stats = co_await p_.parts.runtime.stats(runtime_id(c->id))) usage.stats = *stats;
    usage.written_bytes = (co_await p_.parts.images.snapshot_bytes(runtime_id(c->id))).value_or(0);
  }
  co_return tell(usages);
}

json::Value Service::stats_of(const Usage& usage) {
  const Container& c = *usage.container;
  json::Object out{{"attributes", attributes_of(c)}};
  if (usage.stats) {
    out["cpu"] = cpu_usage(c.id, *usage.stats);
    out["memory"] = memory_usage(*usage.stats);
  }
  out["writable_layer"] = json::Object{{"timestamp", nanos(p_.parts.time.wall())}, {"fs_id", json::Object{{"mountpoint", p_.data_dir}}}, {"used_bytes", wrap(usage.written_bytes)}, {"inodes_used", wrap(0)}};
  return out;
}

json::Value Service::network_usage(const Sandbox& s, WallTime at) const {
  auto status = p_.network.find(s.id);
  if (!status) return nullptr;
  json::Object link{{"name", "eth0"}};
  std::map<std::string, std::uint64_t> counts = pod_link_counts(status->host_interface);
  for (const char* name : {"rx_bytes", "rx_errors", "tx_bytes", "tx_errors"}) link[name] = wrap(counts[name]);
  return json::Object{{"timestamp", nanos(at)}, {"default_interface", std::move(link)}};
}

json::Value Service::stats_of(const Sandbox& s, const Usages& usages) {
  json::Object told;
  json::Array containers;
  std::uint64_t processes = 0;
  container::ContainerStats sum{.cgroup = {}, .at = p_.parts.time.wall()};
  for (const Usage& usage : usages) {
    if (usage.container->sandbox_id != s.id) continue;
    containers.push_back(stats_of(usage));
    if (!usage.stats) continue;
    const sys::CgroupStats& one = usage.stats->cgroup;
    sum.cgroup.cpu_usage_ns += one.cpu_usage_ns;
    sum.cgroup.memory_usage_bytes += one.memory_usage_bytes;
    sum.cgroup.memory_working_set_bytes += one.memory_working_set_bytes;
    sum.cgroup.memory_rss_bytes += one.memory_rss_bytes;
    sum.cgroup.memory_page_faults += one.memory_page_faults;
    sum.cgroup.memory_major_page_faults += one.memory_major_page_faults;
    processes += one.pids_current;
  }
  told["cpu"] = cpu_usage(s.id, sum);
  told["memory"] = memory_usage(sum);
  if (json::Value network = network_usage(s, sum.at); !network.is_null()) told["network"] = std::move(network);
  told["process"] = json::Object{{"timestamp", nanos(sum.at)}, {"process_count", wrap(processes)}};
  told["containers"] = std::move(containers);
  return json::Object{{"attributes", attributes_of(s)}, {"linux", std::move(told)}};
}

std::vector<ContainerPtr> Service::running(const json::Value& filter) const {
  std::vector<ContainerPtr> out = p_.pods.containers();
  std::erase_if(out, [&](const ContainerPtr& c) { return c->phase != Phase::kRunning || !matches(filter, *c); });
  return out;
}

Service::Later Service::container_stats(const json::Value& request) {
  CO_TRY_ASSIGN(ContainerPtr c, p_.pods.find_container(json::get_string(request, {"container_id"})));
  co_return co_await measure({c}, [this](const Usages& usages) -> json::Value { return json::Object{{"stats", stats_of(usages[0])}}; });
}

Service::Later Service::list_container_stats(const json::Value& request) {
  return measure(running(member_of(request, {"filter"})), [this](const Usages& usages) -> json::Value {
    json::Array out;
    for (const Usage& usage : usages) out.push_back(stats_of(usage));
    return json::Object{{"stats", std::move(out)}};
  });
}

Service::Later Service::sandbox_stats(const json::Value& request) {
  CO_TRY_ASSIGN(SandboxPtr s, p_.pods.find_sandbox(json::get_string(request, {"pod_sandbox_id"})));
  if (!s->ready) co_return refuse(Code::kFailedPrecondition, {"sandbox \"", s->id, "\" is not ready"});
  co_return co_await measure(running(json::Object{{"pod_sandbox_id", s->id}}), [this, s](const Usages& usages) -> json::Value { return json::Object{{"stats", stats_of(*s, usages)}}; });
}

Service::Later Service::list_sandbox_stats(const json::Value& request) {
  return measure(running(json::Object{}), [this, filter = member_of(request, {"filter"})](const Usages& usages) -> json::Value {
    json::Array out;
    for (const SandboxPtr& s : p_.pods.sandboxes())
      if (s->ready && matches(filter, *s)) out.push_back(stats_of(*s, usages));
    return json::Object{{"stats", std::move(out)}};
  });
}

Service::Now Service::list_metric_descriptors(const json::Value&) { return json::Object{{"descriptors", describe_metrics()}}; }

Service::Later Service::list_sandbox_metrics(const json::Value&) {
  Usages usages;
  CO_TRY_ASSIGN(json::Value told, co_await measure(running(json::Object{}), [&usages](const Usages& all) -> json::Value {
    usages = all;
    return json::Object{};
  }));
  std::vector<PodMetrics> pods = metric_subjects(usages);
  co_return co_await p_.parts.pool.run([&]() -> Result<json::Value> {
    json::Array out;
    for (PodMetrics& pod : pods) {
      json::Array containers;
      for (auto& [id, subject, group, labels] : pod.containers) {
        if (auto processes = p_.parts.cgroups.processes(group)) subject.processes = *std::move(processes);
        containers.push_back(json::Object{{"container_id", id}, {"metrics", container_metrics(subject, labels)}});
      }
      json::Array own = pod.link.empty() ? json::Array{} : pod_metrics(pod.link, pod.labels);
      out.push_back(json::Object{{"pod_sandbox_id", pod.id}, {"metrics", std::move(own)}, {"container_metrics", std::move(containers)}});
    }
    return json::Object{{"pod_metrics", std::move(out)}};
  });
}

std::vector<Service::PodMetrics> Service::metric_subjects(const Usages& usages) const {
  std::vector<PodMetrics> out;
  for (const SandboxPtr& s : p_.pods.sandboxes()) {
    if (!s->ready) continue;
    auto labels = [&](std::string_view container, std::string_view id, std::string_view image) {
      return json::Array{container, id, image, json::get_string(s->config, {"metadata", "namespace"}), json::get_string(s->config, {"metadata", "name"})};
    };
    PodMetrics pod{.id = s->id, .link = {}, .labels = labels("", s->id, ""), .containers = {}};
    if (auto status = p_.network.find(s->id)) pod.link = status->host_interface;
    for (const Usage& usage : usages) {
      const Container& c = *usage.container;
      auto state = c.sandbox_id == s->id && usage.stats ? p_.parts.runtime.state(runtime_id(c.id)) : fail(Code::kNotFound, "");
      if (!state) continue;
      MetricSubject subject{.views = p_.parts.cgroups.views(state->cgroup_path), .processes = {}, .stats = usage.stats->cgroup, .written_bytes = usage.written_bytes, .data_dir = p_.data_dir,
                            .started = c.started, .now = usage.stats->at, .resources = member_of(c.config, {"linux", "resources"})};
      pod.containers.push_back({c.id, std::move(subject), state->cgroup_path, labels(json::get_string(c.config, {"metadata", "name"}), c.id, json::get_string(c.config, {"image", "image"}))});
    }
    out.push_back(std::move(pod));
  }
  return out;
}

}  // namespace monopod::cri
