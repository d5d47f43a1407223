// events: numbers of a container's control group, in the shape that clients of `runc events` read.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/strings.h"
#include "container/oci/group.h"
#include "container/oci/runtime.h"
#include "sys/root.h"

namespace monopod::container::oci {
namespace {

using Views = std::vector<std::pair<std::string, std::string>>;  // sys::Cgroups::views()

// A control file of a group; its view is "" where there is the one tree of v2.
class Files {
 public:
  explicit Files(Views views) : views_(std::move(views)) {}
  bool v2() const { return std::ranges::find(views_, "", &Views::value_type::first) != views_.end(); }

  std::string read(std::string_view view, std::string_view file) const {
    auto at = std::ranges::find(views_, v2() ? std::string_view() : view, &Views::value_type::first);
    return at == views_.end() ? std::string() : std::string(trim(sys::read_host_file(cat(at->second, "/", file)).value_or("")));
  }
  // "max" and what is not there: 0.
  std::uint64_t number(std::string_view view, std::string_view file) const { return parse_int<std::uint64_t>(read(view, file)).value_or(0); }
  // Of "key number" lines.
  std::uint64_t line(std::string_view view, std::string_view file, std::string_view key) const {
    std::string text = read(view, file);
    for (std::string_view one : split(text, '\n'))
      if (auto [name, value] = split_once(one, ' '); name == key && value) return parse_int<std::uint64_t>(*value).value_or(0);
    return 0;
  }

 private:
  Views views_;
};

json::Value cpu_usage(const Files& files, const sys::CgroupStats& stats) {
  constexpr std::uint64_t kNanosOfMicro = 1000;
  // The v2 tree, alone or beside those of v1, has the parts; else cpuacct.
  std::uint64_t user = files.line("unified", "cpu.stat", "user_usec") * kNanosOfMicro, kernel = files.line("unified", "cpu.stat", "system_usec") * kNanosOfMicro;
  if (user == 0 && kernel == 0 && !files.v2()) {
    user = files.number("cpuacct", "cpuacct.usage_user");
    kernel = files.number("cpuacct", "cpuacct.usage_sys");
  }
  return json::Object{{"usage", json::Object{{"total", stats.cpu_usage_ns}, {"kernel", kernel}, {"user", user}}},
                      {"throttling", json::Object{{"periods", files.line("cpu", "cpu.stat", "nr_periods")}, {"throttledPeriods", stats.cpu_throttled_periods}, {"throttledTime", stats.cpu_throttled_ns}}}};
}

json::Value memory_usage(const Files& files, const sys::CgroupStats& stats) {
  bool v2 = files.v2();
  std::uint64_t max = files.number("memory", v2 ? "memory.peak" : "memory.max_usage_in_bytes");
  json::Object usage{{"usage", stats.memory_usage_bytes},
                     {"max", std::max(max, stats.memory_usage_bytes)},
                     {"failcnt", v2 ? files.line("memory", "memory.events", "max") : files.number("memory", "memory.failcnt")},
                     {"limit", stats.memory_limit_bytes}};
  json::Object raw{{"rss", stats.memory_rss_bytes}, {"pgfault", stats.memory_page_faults}, {"pgmajfault", stats.memory_major_page_faults}, {"oom_kill", stats.oom_kills}};
  return json::Object{{"usage", std::move(usage)}, {"cache", files.line("memory", "memory.stat", v2 ? "file" : "total_cache")}, {"raw", std::move(raw)}};
}

// "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and "full ...": where the kernel counts it (Documentation/accounting/psi).
void add_pressure(json::Value& into, const Files& files, const std::string& name) {
  std::string text = files.read("unified", cat(name, ".pressure"));
  json::Object all;
  for (std::string_view one : split(text, '\n')) {
    std::vector<std::string_view> words = split(one, ' ');
    json::Object numbers;
    for (std::size_t i = 1; i < words.size(); ++i) {
      auto [key, value] = split_once(words[i], '=');
      if (!value) continue;
      if (key == "total") numbers[key] = parse_int<std::uint64_t>(*value).value_or(0);
      else numbers[key] = std::strtod(std::string(*value).c_str(), nullptr);
    }
    if (!numbers.empty()) all[words[0]] = std::move(numbers);
  }
  if (!all.empty()) into.get_object()["psi"] = std::move(all);
}

json::Value format_stats(const std::string& id, const sys::CgroupStats& stats, const Files& files) {
  json::Value cpu = cpu_usage(files, stats), memory = memory_usage(files, stats), io = json::Object();
  add_pressure(cpu, files, "cpu");
  add_pressure(memory, files, "memory");
  add_pressure(io, files, "io");
  json::Object data{{"cpu", std::move(cpu)}, {"memory", std::move(memory)}, {"pids", json::Object{{"current", stats.pids_current}, {"limit", stats.pids_limit}}}, {"blkio", std::move(io)}};
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
  return format_stats(id, stats, Files(groups->views(c.record.group)));
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
