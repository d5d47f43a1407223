// Resource use: /stats/summary (kubelet's stats v1alpha1, what a metrics server reads from older nodes) and /metrics/resource.
#include <cstdio>

#include "agent/node_handler.h"
#include "base/strings.h"

namespace monopod::agent {

namespace {

json::Object cpu_json(const container::ContainerStats& s) {
  return json::Object{{"time", format_rfc3339(s.at)}, {"usageCoreNanoSeconds", s.cgroup.cpu_usage_ns}};
}
json::Object memory_json(const container::ContainerStats& s) {
  return json::Object{{"time", format_rfc3339(s.at)},
                      {"usageBytes", s.cgroup.memory_usage_bytes},
                      {"workingSetBytes", s.cgroup.memory_working_set_bytes},
                      {"rssBytes", s.cgroup.memory_rss_bytes},
                      {"pageFaults", s.cgroup.memory_page_faults},
                      {"majorPageFaults", s.cgroup.memory_major_page_faults}};
}

std::string seconds_text(std::uint64_t ns) {
  char text[48];
  std::snprintf(text, sizeof text, "%.6f", static_cast<double>(ns) / 1e9);
  return text;
}

}  // namespace

async::Task<Result<std::vector<NodeHandler::ContainerUsage>>> NodeHandler::collect() {
  std::vector<ContainerUsage> out;
  for (const PodWorker* worker : pods_.all()) {
    std::shared_ptr<const Pod> pod = worker->shared_pod();
    for (const auto& [name, state] : worker->state().containers)
      if (state.running()) out.push_back({pod->namespace_name, pod->name, pod->uid, name, {}, state.current->started_at});
  }
  std::vector<ContainerUsage> read;
  for (ContainerUsage& usage : out) {
    const PodWorker* worker = pods_.find(usage.ns, usage.pod);
    if (!worker || !worker->state().of(usage.container).running()) continue;
    auto stats = co_await deps_.containers.stats(worker->state().of(usage.container).current->id);
    if (!stats) continue;  // it has ended meanwhile
    usage.stats = *stats;
    read.push_back(std::move(usage));
  }
  co_return read;
}

async::Task<Result<>> NodeHandler::stats_summary(http::Exchange& exchange) {
  CO_TRY_ASSIGN(std::vector<ContainerUsage> usages, co_await collect());
  struct PodSum {
    json::Object entry;
    json::Array containers;
    sys::CgroupStats total;
    WallTime at{};
  };
  std::map<std::string, PodSum> pods;
  for (const ContainerUsage& u : usages) {
    PodSum& p = pods[u.uid];
    p.entry["podRef"] = json::Object{{"name", u.pod}, {"namespace", u.ns}, {"uid", u.uid}};
    p.containers.push_back(json::Object{{"name", u.container}, {"startTime", format_rfc3339(u.started_at)}, {"cpu", cpu_json(u.stats)}, {"memory", memory_json(u.stats)}});
    p.total.cpu_usage_ns += u.stats.cgroup.cpu_usage_ns;
    p.total.memory_usage_bytes += u.stats.cgroup.memory_usage_bytes;
    p.total.memory_working_set_bytes += u.stats.cgroup.memory_working_set_bytes;
    p.total.memory_rss_bytes += u.stats.cgroup.memory_rss_bytes;
    p.at = u.stats.at;
  }
  json::Array list;
  for (auto& [uid, p] : pods) {
    container::ContainerStats total{p.total, p.at};
    p.entry["containers"] = std::move(p.containers);
    p.entry["cpu"] = cpu_json(total);
    p.entry["memory"] = memory_json(total);
    list.push_back(std::move(p.entry));
  }
  NodeUse use;
  NodePressure pressure = co_await deps_.pool.run([&] {
    use = read_node_use();
    return read_pressure(options_.data_dir);
  });
  std::string now = format_rfc3339(deps_.time.wall());
  json::Object memory{{"time", now}, {"usageBytes", use.memory_bytes}, {"workingSetBytes", use.memory_working_set_bytes}, {"availableBytes", pressure.memory_available_bytes}};
  json::Object out{{"node", json::Object{{"nodeName", options_.node_name},
                                         {"cpu", json::Object{{"time", now}, {"usageCoreNanoSeconds", use.cpu_ns}}},
                                         {"memory", std::move(memory)},
                                         {"fs", json::Object{{"availableBytes", pressure.disk_free_bytes}, {"capacityBytes", pressure.disk_bytes}}}}},
                   {"pods", std::move(list)}};
  http::Headers headers;
  headers.set("content-type", "application/json");
  co_return co_await exchange.respond(200, std::move(headers), json::format(json::Value(std::move(out))));
}

async::Task<Result<>> NodeHandler::resource_metrics(http::Exchange& exchange) {
  CO_TRY_ASSIGN(std::vector<ContainerUsage> usages, co_await collect());
  std::string cpu =
      "# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds\n"
      "# TYPE container_cpu_usage_seconds_total counter\n";
  std::string memory =
      "# HELP container_memory_working_set_bytes [STABLE] Current working set of the container in bytes\n"
      "# TYPE container_memory_working_set_bytes gauge\n";
  NodeUse node = co_await deps_.pool.run([] { return read_node_use(); });
  for (const ContainerUsage& u : usages) {
    std::string labels = cat("{container=\"", u.container, "\",namespace=\"", u.ns, "\",pod=\"", u.pod, "\"} ");
    auto at = std::chrono::duration_cast<std::chrono::milliseconds>(u.stats.at.time_since_epoch()).count();
    cpu += cat("container_cpu_usage_seconds_total", labels, seconds_text(u.stats.cgroup.cpu_usage_ns), " ", at, "\n");
    memory += cat("container_memory_working_set_bytes", labels, u.stats.cgroup.memory_working_set_bytes, " ", at, "\n");
  }
  std::string text = cpu + memory;
  text += cat("# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds\n# TYPE node_cpu_usage_seconds_total counter\n",
              "node_cpu_usage_seconds_total ", seconds_text(node.cpu_ns), "\n",
              "# HELP node_memory_working_set_bytes [STABLE] Current working set of the node in bytes\n# TYPE node_memory_working_set_bytes gauge\n",
              "node_memory_working_set_bytes ", node.memory_working_set_bytes, "\n");
  http::Headers headers;
  headers.set("content-type", "text/plain; version=0.0.4; charset=utf-8");
  co_return co_await exchange.respond(200, std::move(headers), std::move(text));
}

}  // namespace monopod::agent
