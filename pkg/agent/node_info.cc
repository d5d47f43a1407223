#include "agent/node_info.h"

#include <sched.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::agent {

namespace {

std::string read_line(const std::string& path) {
  auto text = sys::read_host_file(path, 64U << 10);
  return text ? std::string(trim(*text)) : std::string();
}

// "MemTotal:  1024 kB"
std::int64_t meminfo(std::string_view text, std::string_view name) {
  for (std::string_view line : split(text, '\n')) {
    if (!line.starts_with(name)) continue;
    std::string_view number = trim(line.substr(name.size()));
    if (number.ends_with(" kB")) number.remove_suffix(3);
    return parse_int<std::int64_t>(trim(number)).value_or(0) * 1024;
  }
  return 0;
}

std::string os_image() {
  auto text = sys::read_host_file("/etc/os-release", 64U << 10);
  for (std::string_view line : split(text ? std::string_view(*text) : std::string_view(), '\n')) {
    if (!line.starts_with("PRETTY_NAME=")) continue;
    std::string_view name = line.substr(12);
    if (name.size() >= 2 && name.front() == '"') name = name.substr(1, name.size() - 2);
    return std::string(name);
  }
  return "Linux";
}

}  // namespace

NodeInfo read_node_info(const std::string& data_dir) {
  NodeInfo out;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) out.cpus = CPU_COUNT(&set);
  auto memory = sys::read_host_file("/proc/meminfo", 64U << 10);
  out.memory_bytes = meminfo(memory ? *memory : std::string(), "MemTotal:");
  struct statvfs fs{};
  if (::statvfs(data_dir.c_str(), &fs) == 0) out.disk_bytes = static_cast<std::int64_t>(fs.f_blocks) * static_cast<std::int64_t>(fs.f_frsize);
  out.machine_id = read_line("/etc/machine-id");
  out.system_uuid = read_line("/sys/class/dmi/id/product_uuid");
  if (out.system_uuid.empty()) out.system_uuid = out.machine_id;
  out.boot_id = read_line("/proc/sys/kernel/random/boot_id");
  struct utsname name{};
  if (::uname(&name) == 0) {
    out.kernel = name.release;
    std::string_view machine = name.machine;
    out.architecture = machine == "x86_64" ? "amd64" : machine == "aarch64" ? "arm64" : std::string(machine);
  }
  out.os_image = os_image();
  return out;
}

NodePressure read_pressure(const std::string& data_dir) {
  NodePressure out;
  auto memory = sys::read_host_file("/proc/meminfo", 64U << 10);
  out.memory_available_bytes = meminfo(memory ? *memory : std::string(), "MemAvailable:");
  struct statvfs fs{};
  if (::statvfs(data_dir.c_str(), &fs) == 0) {
    out.disk_free_bytes = static_cast<std::int64_t>(fs.f_bavail) * static_cast<std::int64_t>(fs.f_frsize);
    out.disk_bytes = static_cast<std::int64_t>(fs.f_blocks) * static_cast<std::int64_t>(fs.f_frsize);
    out.inodes_free = static_cast<std::int64_t>(fs.f_favail);
    out.inodes = static_cast<std::int64_t>(fs.f_files);
  }
  // "0.00 0.01 0.05 1/123 4567": the number after the slash is of all threads.
  std::string load = read_line("/proc/loadavg");
  if (std::size_t slash = load.find('/'); slash != std::string::npos) out.pids = parse_int<std::int64_t>(load.substr(slash + 1, load.find(' ', slash) - slash - 1)).value_or(0);
  out.pids_max = parse_int<std::int64_t>(read_line("/proc/sys/kernel/pid_max")).value_or(0);
  return out;
}

NodeUse read_node_use() {
  NodeUse out;
  auto memory = sys::read_host_file("/proc/meminfo", 64U << 10);
  std::string_view text = memory ? std::string_view(*memory) : std::string_view();
  std::int64_t used = meminfo(text, "MemTotal:") - meminfo(text, "MemFree:");
  out.memory_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(used, 0));
  out.memory_working_set_bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(used - meminfo(text, "Inactive(file):"), 0));
  // "cpu  user nice system idle iowait irq softirq steal guest guest_nice" in ticks; guests are among user and nice.
  auto stat = sys::read_host_file("/proc/stat", 4U << 20);
  std::string_view all = stat ? std::string_view(*stat) : std::string_view();
  std::vector<std::string_view> fields = split(all.substr(0, all.find('\n')), ' ');
  std::erase(fields, std::string_view());
  long ticks_per_second = ::sysconf(_SC_CLK_TCK);
  std::uint64_t ticks = 0;
  for (std::size_t i : {1U, 2U, 3U, 6U, 7U, 8U})
    if (i < fields.size()) ticks += parse_int<std::uint64_t>(fields[i]).value_or(0);
  if (ticks_per_second > 0) out.cpu_ns = ticks * (1'000'000'000U / static_cast<std::uint64_t>(ticks_per_second));
  return out;
}

}  // namespace monopod::agent
