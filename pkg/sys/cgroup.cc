#include "sys/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <ctime>

#include "base/log.h"
#include "base/strings.h"
#include "sys/cgroup_tree.h"
#include "sys/root.h"

namespace monopod::sys {
namespace {

constexpr int kBusyRetries = 400;
constexpr long kBusyPauseNs = 5'000'000;
constexpr int kKillRounds = 200;

void pause_ns(long ns) {
  struct timespec time = {0, ns};
  ::nanosleep(&time, nullptr);
}

struct MountLine {
  std::string root;   // of the mounted hierarchy
  std::string point;
  std::string type;
  std::string super_options;
};

std::vector<MountLine> cgroup_mounts(const std::string& below) {
  std::vector<MountLine> out;
  Result<std::string> text = read_host_file("/proc/self/mountinfo", 16U << 20);
  if (!text) return out;
  for (std::string_view line : split(*text, '\n')) {
    auto fields = split(line, ' ');
    auto dash = std::find(fields.begin(), fields.end(), "-");
    if (fields.size() < 8 || fields.end() - dash < 4) continue;
    std::string_view type = dash[1];
    if (type != "cgroup" && type != "cgroup2") continue;
    if (fields[4] != below && !fields[4].starts_with(below + "/")) continue;
    out.push_back({std::string(fields[3]), std::string(fields[4]), std::string(type), std::string(dash[3])});
  }
  return out;
}

// controller name ("" for v2) -> path of our group.
std::map<std::string, std::string> own_groups() {
  std::map<std::string, std::string> out;
  Result<std::string> text = read_host_file("/proc/self/cgroup");
  if (!text) return out;
  for (std::string_view line : split(*text, '\n')) {
    auto [number, rest] = split_once(line, ':');
    if (!rest) continue;
    auto [names, path] = split_once(*rest, ':');
    if (!path) continue;
    for (std::string_view name : split(names, ',')) out[std::string(name)] = std::string(*path);
  }
  return out;
}

// The v1 controllers there are: words of a mount's options are these or say something else.
constexpr std::array<std::string_view, 14> kV1Controllers = {"cpu",     "cpuacct", "cpuset",   "memory",     "devices", "freezer", "blkio",
                                                             "pids",    "net_cls", "net_prio", "perf_event", "hugetlb", "rdma",    "misc"};

std::string own_directory(const MountLine& mount, std::string group) {
  if (mount.root != "/") {
    if (group == mount.root) group = "/";
    else if (group.starts_with(mount.root + "/")) group = group.substr(mount.root.size());
    else group = "/";
  }
  if (group.starts_with("/..")) group = "/";
  return group == "/" ? mount.point : mount.point + group;
}

}  // namespace

const char* format_cgroup_mode(CgroupMode mode) {
  switch (mode) {
    case CgroupMode::kNone: return "none";
    case CgroupMode::kV1: return "v1";
    case CgroupMode::kHybrid: return "hybrid";
    case CgroupMode::kV2: return "v2";
  }
  return "none";
}

std::uint64_t cpu_weight_of_shares(std::uint64_t shares) {
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  double bits = std::log2(static_cast<double>(shares));
  return static_cast<std::uint64_t>(std::ceil(std::pow(10.0, (bits * bits + 125 * bits) / 612 - 7.0 / 34)));
}

void warn_once(std::atomic<bool>& said, std::string_view sentence, const Error& error) {
  if (!said.exchange(true)) log::warn(sentence, {{"error", error}});
}

bool file_exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

std::map<std::string, std::uint64_t> read_flat_keyed(const std::string& path) {
  std::map<std::string, std::uint64_t> out;
  Result<std::string> text = read_host_file(path);
  if (!text) return out;
  for (std::string_view line : split(*text, '\n')) {
    auto [key, value] = split_once(line, ' ');
    if (!value) continue;
    if (auto number = parse_int<std::uint64_t>(*value)) out[std::string(key)] = *number;
  }
  return out;
}

std::optional<std::uint64_t> read_number(const std::string& path) {
  Result<std::string> text = read_host_file(path);
  if (!text) return std::nullopt;
  return parse_int<std::uint64_t>(trim(*text));
}

Result<> make_path(const std::string& root, const std::string& group) {
  std::string path = root;
  for (std::string_view part : split(group, '/')) {
    if (part.empty()) continue;
    if (part == "." || part == "..") return fail(Code::kInvalidArgument, cat("control group ", group, " is not a plain path"));
    path += '/';
    path += part;
    if (::mkdir(path.c_str(), 0755) < 0 && errno != EEXIST) return fail_errno(cat("make control group ", path));
  }
  return {};
}

std::vector<std::string> list_directories(const std::string& path) {
  std::vector<std::string> out;
  DIR* stream = ::opendir(path.c_str());
  if (stream == nullptr) return out;
  while (struct dirent* entry = ::readdir(stream)) {
    std::string_view name = entry->d_name;
    if (entry->d_type == DT_DIR && name != "." && name != "..") out.emplace_back(name);
  }
  ::closedir(stream);
  return out;
}

Result<> remove_path(const std::string& path) {
  for (int tries = 0;; ++tries) {
    if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
    if (errno != EBUSY) return fail_errno(cat("remove control group ", path));
    for (const std::string& child : list_directories(path)) TRY(remove_path(path + "/" + child));
    std::vector<int> alive;
    collect_processes(path, alive);
    if (!alive.empty() && tries >= kBusyRetries / 4) return fail(Code::kFailedPrecondition, cat("control group ", path, " still has processes"));
    if (tries >= kBusyRetries) return fail_errno(cat("remove control group ", path));
    if (tries > 0) pause_ns(kBusyPauseNs);
  }
}

void collect_processes(const std::string& path, std::vector<int>& out) {
  Result<std::string> text = read_host_file(path + "/cgroup.procs", 16U << 20);
  if (text) {
    for (std::string_view line : split(*text, '\n')) {
      if (auto pid = parse_int<int>(line); pid && *pid > 0) out.push_back(*pid);
    }
  }
  for (const std::string& child : list_directories(path)) collect_processes(path + "/" + child, out);
}

Result<> kill_by_signal(const std::string& path) {
  for (int round = 0; round < kKillRounds; ++round) {
    std::vector<int> pids;
    collect_processes(path, pids);
    if (pids.empty()) return {};
    for (int pid : pids) ::kill(pid, SIGKILL);
    pause_ns(kBusyPauseNs);
  }
  return fail(Code::kDeadlineExceeded, cat("control group ", path, " does not empty"));
}

Result<std::unique_ptr<Cgroups>> open_cgroups(const CgroupOptions& options) {
  std::vector<MountLine> mounts = cgroup_mounts(options.mount);
  // Our own groups do not matter to who names them from the top.
  bool from_top = !options.root.empty();
  std::map<std::string, std::string> groups = from_top ? std::map<std::string, std::string>() : own_groups();
  auto is_controller = [&](std::string_view name) {
    return from_top ? std::find(kV1Controllers.begin(), kV1Controllers.end(), name) != kV1Controllers.end() : groups.contains(std::string(name));
  };
  bool has_v1 = std::any_of(mounts.begin(), mounts.end(), [](const MountLine& m) { return m.type == "cgroup"; });
  if (!has_v1) {
    auto v2 = std::find_if(mounts.rbegin(), mounts.rend(), [](const MountLine& m) { return m.type == "cgroup2"; });
    if (v2 == mounts.rend()) return fail(Code::kFailedPrecondition, cat("no control groups are mounted at ", options.mount));
    return open_cgroup_v2(options.root.empty() ? own_directory(*v2, groups[""]) : v2->point + "/" + options.root, options);
  }
  V1Roots roots;
  for (const MountLine& mount : mounts) {
    if (mount.type == "cgroup2") {
      roots.unified = options.root.empty() ? own_directory(mount, groups[""]) : mount.point + "/" + options.root;
      continue;
    }
    for (std::string_view word : split(mount.super_options, ',')) {
      std::string name(word);
      if (is_controller(name)) roots.controllers[name] = options.root.empty() ? own_directory(mount, groups[name]) : mount.point + "/" + options.root;
    }
  }
  return open_cgroup_v1(roots, options);
}

}  // namespace monopod::sys
