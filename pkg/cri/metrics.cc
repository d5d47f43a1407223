#include "cri/metrics.h"

#include <dirent.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "sys/files.h"
#include "sys/root.h"

namespace monopod::cri {
namespace {

constexpr std::size_t kFileBytesMax = 64U << 10;
constexpr std::size_t kLinksBytesMax = 4U << 20;  // some 200 bytes a link
constexpr std::string_view kLabels[] = {"container", "id", "image", "namespace", "pod"};

// A number's places, tried in turn, split by '|': "view file key unit". view is a hierarchy of v1, "unified" the v2 tree beside them, "v2" the one tree.
// key: "-" the file is the number; "name" a line "name N"; "line/name" the line's "name=N"; "+name" the sum of all "name=N". unit: u micro-, n nanoseconds.
struct Row {
  std::string_view name, help;
  char type;  // c counter, g gauge, p counter of a pod
  std::string_view places = {};
  std::string_view extra_keys = {};  // labels beside the common ones, and their values: split by ','
  std::string_view extra_values = {};
};

constexpr Row kRows[] = {
    {"container_blkio_device_usage_total", "Blkio device bytes usage", 'c', {}, "device,major,minor,operation"},
    {"container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals", 'c', "v2 cpu.stat nr_periods|cpu cpu.stat nr_periods"},
    {"container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals", 'c', "v2 cpu.stat nr_throttled|cpu cpu.stat nr_throttled"},
    {"container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled", 'c', "v2 cpu.stat throttled_usec u|cpu cpu.stat throttled_time n"},
    {"container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds", 'c', "v2 cpu.stat system_usec u|unified cpu.stat system_usec u|cpuacct cpuacct.usage_sys - n"},
    {"container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds", 'c', "v2 cpu.stat usage_usec u|unified cpu.stat usage_usec u|cpuacct cpuacct.usage - n"},
    {"container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds", 'c', "v2 cpu.stat user_usec u|unified cpu.stat user_usec u|cpuacct cpuacct.usage_user - n"},
    {"container_file_descriptors", "Number of open file descriptors for the container", 'g'},
    {"container_fs_inodes_free", "Number of available inodes", 'g', {}, "device"},
    {"container_fs_inodes_total", "Number of inodes", 'g', {}, "device"},
    {"container_fs_limit_bytes", "Number of bytes that can be consumed by the container on this filesystem", 'g', {}, "device"},
    {"container_fs_reads_bytes_total", "Cumulative count of bytes read", 'c', "v2 io.stat +rbytes"},
    {"container_fs_reads_total", "Cumulative count of reads completed", 'c', "v2 io.stat +rios"},
    {"container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem", 'g', {}, "device"},
    {"container_fs_writes_bytes_total", "Cumulative count of bytes written", 'c', "v2 io.stat +wbytes"},
    {"container_fs_writes_total", "Cumulative count of writes completed", 'c', "v2 io.stat +wios"},
    {"container_last_seen", "Last time a container was seen by the exporter", 'g'},
    {"container_memory_cache", "Number of bytes of page cache memory", 'g', "v2 memory.stat file|memory memory.stat total_cache"},
    {"container_memory_failcnt", "Number of memory usage hits limits", 'c', "v2 memory.events max|memory memory.failcnt -"},
    {"container_memory_failures_total", "Cumulative count of memory allocation failures", 'c', "v2 memory.stat pgfault|memory memory.stat total_pgfault", "failure_type,scope", "pgfault,container"},
    {"container_memory_failures_total", {}, 'c', "v2 memory.stat pgmajfault|memory memory.stat total_pgmajfault", "failure_type,scope", "pgmajfault,container"},
    {"container_memory_kernel_usage", "Size of kernel memory allocated in bytes", 'g', "v2 memory.stat kernel|memory memory.kmem.usage_in_bytes -"},
    {"container_memory_mapped_file", "Size of memory mapped files in bytes", 'g', "v2 memory.stat file_mapped|memory memory.stat total_mapped_file"},
    {"container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes", 'g', "v2 memory.peak -|v2 memory.current -|memory memory.max_usage_in_bytes -"},
    {"container_memory_rss", "Size of RSS in bytes", 'g', "v2 memory.stat anon|memory memory.stat total_rss"},
    {"container_memory_swap", "Container swap usage in bytes", 'g', "v2 memory.swap.current -|memory memory.stat total_swap"},
    {"container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", 'g', "v2 memory.current -|memory memory.usage_in_bytes -"},
    {"container_memory_working_set_bytes", "Current working set in bytes", 'g'},
    {"container_network_receive_bytes_total", "Cumulative count of bytes received", 'p', "rx_bytes", "interface", "eth0"},
    {"container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", 'p', "rx_errors", "interface", "eth0"},
    {"container_network_receive_packets_dropped_total", "Cumulative count of packets dropped while receiving", 'p', "rx_dropped", "interface", "eth0"},
    {"container_network_receive_packets_total", "Cumulative count of packets received", 'p', "rx_packets", "interface", "eth0"},
    {"container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", 'p', "tx_bytes", "interface", "eth0"},
    {"container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", 'p', "tx_errors", "interface", "eth0"},
    {"container_network_transmit_packets_dropped_total", "Cumulative count of packets dropped while transmitting", 'p', "tx_dropped", "interface", "eth0"},
    {"container_network_transmit_packets_total", "Cumulative count of packets transmitted", 'p', "tx_packets", "interface", "eth0"},
    {"container_oom_events_total", "Count of out of memory events observed for the container", 'c'},
    {"container_pressure_cpu_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to CPU congestion", 'c', "v2 cpu.pressure full/total u|unified cpu.pressure full/total u"},
    {"container_pressure_cpu_waiting_seconds_total", "Total time duration tasks in the container have waited due to CPU congestion", 'c', "v2 cpu.pressure some/total u|unified cpu.pressure some/total u"},
    {"container_pressure_io_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to IO congestion", 'c', "v2 io.pressure full/total u|unified io.pressure full/total u"},
    {"container_pressure_io_waiting_seconds_total", "Total time duration tasks in the container have waited due to IO congestion", 'c', "v2 io.pressure some/total u|unified io.pressure some/total u"},
    {"container_pressure_memory_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to memory congestion", 'c',
     "v2 memory.pressure full/total u|unified memory.pressure full/total u"},
    {"container_pressure_memory_waiting_seconds_total", "Total time duration tasks in the container have waited due to memory congestion", 'c',
     "v2 memory.pressure some/total u|unified memory.pressure some/total u"},
    {"container_processes", "Number of processes running inside the container", 'g'},
    {"container_sockets", "Number of open sockets for the container", 'g'},
    {"container_spec_cpu_period", "CPU period of the container", 'g'},
    {"container_spec_cpu_quota", "CPU quota of the container", 'g'},
    {"container_spec_cpu_shares", "CPU share of the container", 'g'},
    {"container_spec_memory_limit_bytes", "Memory limit for the container; 0: none", 'g'},
    {"container_spec_memory_reservation_limit_bytes", "Memory reservation limit for the container; 0: none", 'g'},
    {"container_spec_memory_swap_limit_bytes", "Memory swap limit for the container; 0: none", 'g'},
    {"container_start_time_seconds", "Start time of the container since unix epoch in seconds", 'g'},
    {"container_threads", "Number of threads running inside the container", 'g'},
    {"container_threads_max", "Maximum number of threads allowed inside the container; 0: no limit", 'g'},
    {"container_ulimits_soft", "Soft ulimit values for the container's root process", 'g', {}, "ulimit", "max_open_files"},
};

std::optional<std::uint64_t> number_after(std::string_view line, std::string_view name) {
  for (std::string_view word : split(line, ' '))
    if (auto [key, value] = split_once(word, '='); value && key == name) return parse_int<std::uint64_t>(*value);
  return std::nullopt;
}

std::optional<std::uint64_t> pick(std::string_view text, std::string_view key) {
  if (key == "-") return parse_int<std::uint64_t>(trim(text));
  std::uint64_t sum = 0;
  auto [line_name, member] = split_once(key, '/');
  for (std::string_view line : split(trim(text), '\n')) {
    auto [name, rest] = split_once(line, ' ');
    if (key.starts_with('+')) sum += number_after(line, key.substr(1)).value_or(0);
    else if (name == line_name && rest) return member ? number_after(*rest, *member) : parse_int<std::uint64_t>(*rest);
  }
  return key.starts_with('+') ? std::optional(sum) : std::nullopt;
}

// Each file is read once for all that is in it.
class Files {
 public:
  explicit Files(const MetricSubject& subject) : subject_(subject) {}

  std::optional<std::uint64_t> find(std::string_view places) {
    for (std::string_view place : split(places, '|')) {
      std::vector<std::string_view> words = split(place, ' ');
      const std::string* text = words.size() < 3 ? nullptr : read(words[0], words[1]);
      auto value = text == nullptr ? std::nullopt : pick(*text, words[2]);
      if (!value) continue;
      return words.size() < 4 ? *value : *value / (words[3] == "u" ? 1'000'000 : 1'000'000'000);
    }
    return std::nullopt;
  }

  // Null where there is none.
  const std::string* read(std::string_view view, std::string_view file) {
    auto at = std::ranges::find(subject_.views, view == "v2" ? std::string_view() : view, [](const auto& v) -> std::string_view { return v.first; });
    if (at == subject_.views.end()) return nullptr;
    auto [entry, added] = texts_.try_emplace(cat(at->second, "/", file));
    if (added)
      if (auto text = sys::read_host_file(entry->first, kFileBytesMax)) entry->second = *std::move(text);
    return entry->second.empty() ? nullptr : &entry->second;
  }

 private:
  const MetricSubject& subject_;
  std::map<std::string, std::string> texts_;
};

struct Descriptors {
  std::uint64_t open = 0, sockets = 0;
};

Descriptors count_descriptors(const std::vector<int>& processes) {
  Descriptors out;
  for (int pid : processes) {
    DIR* directory = ::opendir(cat("/proc/", pid, "/fd").c_str());
    if (directory == nullptr) continue;  // it has ended
    while (const struct ::dirent* entry = ::readdir(directory)) {
      char target[16];
      ssize_t n = entry->d_name[0] == '.' ? -1 : ::readlinkat(::dirfd(directory), entry->d_name, target, sizeof target);
      if (n < 0) continue;
      ++out.open;
      if (std::string_view(target, static_cast<std::size_t>(n)).starts_with("socket:")) ++out.sockets;
    }
    ::closedir(directory);
  }
  return out;
}

std::uint64_t count_threads(const MetricSubject& s) {
  if (s.stats.pids_current > 0) return s.stats.pids_current;
  std::uint64_t out = 0;
  for (int pid : s.processes) out += sys::list_directory(cat("/proc/", pid, "/task")).size();
  return out;
}

std::optional<std::uint64_t> open_files_max(const std::vector<int>& processes) {
  constexpr std::string_view kLine = "Max open files";
  if (processes.empty()) return std::nullopt;
  auto text = sys::read_host_file(cat("/proc/", processes.front(), "/limits"), kFileBytesMax);
  if (!text) return std::nullopt;
  for (std::string_view line : split(*text, '\n'))
    if (line.starts_with(kLine)) return parse_int<std::uint64_t>(split_once(trim(line.substr(kLine.size())), ' ').first);
  return std::nullopt;
}

std::uint64_t seconds_of(WallTime time) { return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count()); }

// What is in no file of the group.
std::map<std::string_view, std::uint64_t> computed(const MetricSubject& s) {
  auto resource = [&](std::string_view name, std::uint64_t fallback) {
    std::int64_t value = json::get_int(s.resources, {name});
    return value > 0 ? static_cast<std::uint64_t>(value) : fallback;
  };
  Descriptors descriptors = count_descriptors(s.processes);
  std::map<std::string_view, std::uint64_t> out{
      {"container_file_descriptors", descriptors.open},
      {"container_sockets", descriptors.sockets},
      {"container_fs_usage_bytes", s.written_bytes},
      {"container_last_seen", seconds_of(s.now)},
      {"container_start_time_seconds", seconds_of(s.started)},
      {"container_memory_working_set_bytes", s.stats.memory_working_set_bytes},
      {"container_oom_events_total", s.stats.oom_kills},
      {"container_processes", s.processes.size()},
      {"container_threads", count_threads(s)},
      {"container_threads_max", s.stats.pids_limit},
      {"container_spec_cpu_period", resource("cpu_period", 100'000)},
      {"container_spec_cpu_shares", resource("cpu_shares", 1024)},
      {"container_spec_memory_limit_bytes", resource("memory_limit_in_bytes", 0)},
      {"container_spec_memory_reservation_limit_bytes", 0},  // CRI has no word for it
      {"container_spec_memory_swap_limit_bytes", resource("memory_swap_limit_in_bytes", 0)},
  };
  if (std::uint64_t quota = resource("cpu_quota", 0); quota > 0) out["container_spec_cpu_quota"] = quota;
  if (auto files = open_files_max(s.processes)) out["container_ulimits_soft"] = *files;
  struct ::statvfs fs {};
  if (::statvfs(s.data_dir.c_str(), &fs) == 0) {
    out["container_fs_inodes_free"] = fs.f_ffree;
    out["container_fs_inodes_total"] = fs.f_files;
    out["container_fs_limit_bytes"] = fs.f_blocks * fs.f_frsize;
  }
  return out;
}

void add_metric(json::Array& out, const Row& row, json::Array labels, std::uint64_t value) {
  out.push_back(json::Object{{"name", row.name}, {"metric_type", row.type == 'g' ? 1 : 0}, {"label_values", std::move(labels)}, {"value", json::Object{{"value", value}}}});
}

// Read and Write of every device that the group used.
void add_devices(json::Array& out, const Row& row, const json::Array& labels, const std::string& text) {
  for (std::string_view line : split(trim(text), '\n')) {
    auto [device, rest] = split_once(line, ' ');
    auto [major, minor] = split_once(device, ':');
    if (!rest || !minor) continue;
    for (auto [operation, key] : {std::pair{"Read", "rbytes"}, {"Write", "wbytes"}}) {
      json::Array all = labels;
      for (std::string_view value : {std::string_view(), major, *minor, std::string_view(operation)}) all.emplace_back(value);
      add_metric(out, row, std::move(all), number_after(*rest, key).value_or(0));
    }
  }
}

json::Array with_extra(const json::Array& labels, const Row& row, const std::string& device) {
  json::Array out = labels;
  if (row.extra_keys == "device") out.emplace_back(device);
  else if (!row.extra_keys.empty())
    for (std::string_view value : split(row.extra_values, ',')) out.emplace_back(value);
  return out;
}

}  // namespace

json::Array describe_metrics() {
  json::Array out;
  for (const Row& row : kRows) {
    if (row.help.empty()) continue;  // the same again, with other labels
    json::Array keys(std::begin(kLabels), std::end(kLabels));
    if (!row.extra_keys.empty())
      for (std::string_view key : split(row.extra_keys, ',')) keys.emplace_back(key);
    out.push_back(json::Object{{"name", row.name}, {"help", row.help}, {"label_keys", std::move(keys)}});
  }
  return out;
}

json::Array container_metrics(const MetricSubject& subject, const json::Array& labels) {
  json::Array out;
  Files files(subject);
  std::map<std::string_view, std::uint64_t> known = computed(subject);
  for (const Row& row : kRows) {
    if (row.type == 'p') continue;
    if (row.name == "container_blkio_device_usage_total") {
      if (const std::string* text = files.read("v2", "io.stat")) add_devices(out, row, labels, *text);
      continue;
    }
    auto found = known.find(row.name);
    std::optional<std::uint64_t> value = found == known.end() ? files.find(row.places) : std::optional(found->second);
    if (!value && row.name == "container_memory_swap") value = 0;  // v1 without an account of swap says nothing
    if (value) add_metric(out, row, with_extra(labels, row, subject.data_dir), *value);
  }
  return out;
}

std::map<std::string, std::uint64_t> pod_link_counts(const std::string& link) {
  // /proc/net/dev has the links of who reads; /sys those of who mounted it. The node's end counts the other way round.
  static constexpr std::string_view kColumns[] = {"tx_bytes", "tx_packets", "tx_errors", "tx_dropped", "", "", "", "", "rx_bytes", "rx_packets", "rx_errors", "rx_dropped"};
  std::map<std::string, std::uint64_t> out;
  auto text = sys::read_host_file("/proc/self/net/dev", kLinksBytesMax);
  if (!text) return out;
  for (std::string_view line : split(*text, '\n')) {
    auto [name, counts] = split_once(line, ':');
    if (!counts || trim(name) != link) continue;
    std::vector<std::string_view> words = split(*counts, ' ');
    std::erase(words, std::string_view());
    for (std::size_t i = 0; i < std::size(kColumns) && i < words.size(); ++i)
      if (auto value = parse_int<std::uint64_t>(words[i]); value && !kColumns[i].empty()) out.emplace(kColumns[i], *value);
  }
  return out;
}

json::Array pod_metrics(const std::string& link, const json::Array& labels) {
  json::Array out;
  std::map<std::string, std::uint64_t> counts = pod_link_counts(link);
  for (const Row& row : kRows)
    if (auto found = counts.find(std::string(row.places)); row.type == 'p' && found != counts.end()) add_metric(out, row, with_extra(labels, row, {}), found->second);
  return out;
}

}  // namespace monopod::cri
