// events: numbers of a container's control group, in the shape that clients of `runc events` read.
#include <poll.h>
#include <unistd.h>

#include <cstdio>

#include "base/strings.h"
#include "container/oci/group.h"
#include "container/oci/runtime.h"

namespace monopod::container::oci {
namespace {

json::Object usage(std::uint64_t used, std::uint64_t limit, std::uint64_t failures) {
  return {{"usage", used}, {"max", used}, {"failcnt", failures}, {"limit", limit}};
}

json::Value format_stats(const std::string& id, const sys::CgroupStats& stats) {
  json::Object memory{{"usage", usage(stats.memory_usage_bytes, stats.memory_limit_bytes, 0)},
                      {"cache", stats.memory_usage_bytes > stats.memory_rss_bytes ? stats.memory_usage_bytes - stats.memory_rss_bytes : 0},
                      {"raw", json::Object{{"rss", stats.memory_rss_bytes},
                                           {"pgfault", stats.memory_page_faults},
                                           {"pgmajfault", stats.memory_major_page_faults},
                                           {"oom_kill", stats.oom_kills}}}};
  json::Object cpu{{"usage", json::Object{{"total", stats.cpu_usage_ns}, {"kernel", 0}, {"user", 0}}},
                   {"throttling", json::Object{{"throttledPeriods", stats.cpu_throttled_periods}, {"throttledTime", stats.cpu_throttled_ns}}}};
  json::Object data{{"cpu", std::move(cpu)}, {"memory", std::move(memory)}, {"pids", json::Object{{"current", stats.pids_current}, {"limit", stats.pids_limit}}}};
  return json::Object{{"type", "stats"}, {"id", id}, {"data", std::move(data)}};
}

void print(const json::Value& value) {
  std::printf("%s\n", json::format(value).c_str());
  std::fflush(stdout);
}

}  // namespace

Result<json::Value> Runtime::stats(const std::string& id) {
  TRY_ASSIGN(Found c, find(id, false));
  if (c.status == RuntimeStatus::kStopped || c.status == RuntimeStatus::kCreating) return fail(Code::kFailedPrecondition, "container not running");
  if (c.record.group.empty()) return fail(Code::kFailedPrecondition, "the container has no control group: nothing is counted");
  TRY_ASSIGN(std::unique_ptr<sys::Cgroups> groups, open_groups(c.record.controllers));
  TRY_ASSIGN(sys::CgroupStats stats, groups->stats(c.record.group));
  return format_stats(id, stats);
}

Result<> Runtime::follow_events(const std::string& id, std::chrono::milliseconds interval) {
  TRY_ASSIGN(Found c, find(id, false));
  TRY_ASSIGN(sys::Pidfd process, find_process(c.record));
  std::int64_t kills = 0;
  for (;;) {
    Result<json::Value> now = stats(id);
    if (now) {
      std::int64_t count = json::get_int(*now, {"data", "memory", "raw", "oom_kill"});
      if (count > kills) print(json::Object{{"type", "oom"}, {"id", id}});
      kills = count;
      print(*now);
    }
    struct pollfd wait = {process.fd(), POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(interval.count())) > 0) return {};
  }
}

}  // namespace monopod::container::oci
