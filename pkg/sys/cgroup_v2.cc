#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/strings.h"
#include "sys/cgroup_tree.h"
#include "sys/device_filter.h"
#include "sys/root.h"

namespace monopod::sys {
namespace {

constexpr int kMoveRounds = 50;

class CgroupsV2 final : public Cgroups {
 public:
  CgroupsV2(std::string root, const std::vector<std::string>& more) : root_(std::move(root)) {
    Result<std::string> text = read_host_file(root_ + "/cgroup.controllers");
    if (!text) return;
    for (std::string_view name : split(trim(*text), ' ')) {
      for (std::string_view wanted : {"cpu", "memory", "pids", "cpuset"}) {
        if (name == wanted) controllers_.emplace_back(name);
      }
      if (!has(name) && std::find(more.begin(), more.end(), name) != more.end()) controllers_.emplace_back(name);
    }
  }

  CgroupMode mode() const override { return CgroupMode::kV2; }
  bool has_memory() const override { return has("memory"); }
  bool has_cpu() const override { return has("cpu"); }
  bool has_pids() const override { return has("pids"); }

  Result<> create(const std::string& group) override {
    std::string path = root_;
    for (std::string_view part : split(group, '/')) {
      if (part.empty()) continue;
      enable_controllers(path);
      TRY(make_path(path, std::string(part)));
      path += '/';
      path += part;
    }
    return {};
  }

  Result<> remove(const std::string& group) override { return remove_path(root_ + "/" + group); }

  Result<> set_limits(const std::string& group, const CgroupLimits& limits) override {
    if (limits.cpu_shares) set(cpu_said_, group, "cpu.weight", cat(cpu_weight_of_shares(*limits.cpu_shares)));
    if (limits.cpu_quota_us) {
      std::string quota = *limits.cpu_quota_us > 0 ? cat(*limits.cpu_quota_us) : "max";
      set(cpu_said_, group, "cpu.max", cat(quota, " ", limits.cpu_period_us.value_or(100'000)));
    }
    if (limits.cpuset_cpus && !limits.cpuset_cpus->empty()) set(cpu_said_, group, "cpuset.cpus", *limits.cpuset_cpus);
    if (limits.memory_bytes_max) {
      set(memory_said_, group, "memory.max", *limits.memory_bytes_max < 0 ? "max" : cat(*limits.memory_bytes_max));
      if (limits.memory_swap_bytes_max) {
        std::int64_t both = *limits.memory_swap_bytes_max;
        std::string swap = both < 0 || *limits.memory_bytes_max < 0 ? "max" : cat(std::max<std::int64_t>(0, both - *limits.memory_bytes_max));
        if (file_exists(file(group, "memory.swap.max"))) set(memory_said_, group, "memory.swap.max", swap);
      }
    }
    if (limits.pids_max) set(pids_said_, group, "pids.max", *limits.pids_max > 0 ? cat(*limits.pids_max) : "max");
    return {};
  }

  bool has(std::string_view name) const override { return std::find(controllers_.begin(), controllers_.end(), name) != controllers_.end(); }
  Result<> write(const std::string& group, std::string_view controller, std::string_view name, std::string_view value) override {
    TRY(check(controller));
    return write_host_file(cat(root_, "/", group, "/", name), value);
  }
  Result<std::string> read(const std::string& group, std::string_view controller, std::string_view name) override {
    TRY(check(controller));
    return read_host_file(cat(root_, "/", group, "/", name));
  }

  Result<> set_devices(const std::string& group, const std::vector<DeviceRule>& rules) override {
    Fd directory(::open((root_ + "/" + group).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory) return fail_errno(cat("open control group ", group));
    Result<> attached = attach_device_filter(directory.get(), rules);
    if (!attached) warn_once(devices_said_, "device rules are not enforced", attached.error());
    return {};
  }

  Result<Entry> open_entry(const std::string& group) override {
    Entry out;
    std::string path = root_ + "/" + group;
    out.cgroup = Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!out.cgroup) return fail_errno(cat("open ", path));
    return out;
  }

  Result<std::vector<int>> processes(const std::string& group) override {
    std::vector<int> out;
    collect_processes(root_ + "/" + group, out);
    return out;
  }

  Result<> kill_all(const std::string& group) override {
    std::string kill = file(group, "cgroup.kill");
    if (file_exists(kill)) return write_host_file(kill, "1");  // 5.14
    if (!file_exists(root_ + "/" + group)) return {};
    return kill_by_signal(root_ + "/" + group);
  }

  Result<> set_frozen(const std::string& group, bool frozen) override { return write_host_file(file(group, "cgroup.freeze"), frozen ? "1" : "0"); }

  bool is_frozen(const std::string& group) override { return read_number(file(group, "cgroup.freeze")) == 1; }

  Result<CgroupStats> stats(const std::string& group) override {
    if (!file_exists(root_ + "/" + group)) return fail(Code::kNotFound, cat("control group ", group));
    CgroupStats out;
    auto cpu = read_flat_keyed(file(group, "cpu.stat"));
    out.cpu_usage_ns = cpu["usage_usec"] * 1000;
    out.cpu_throttled_ns = cpu["throttled_usec"] * 1000;
    out.cpu_throttled_periods = cpu["nr_throttled"];
    if (has_memory()) {
      auto memory = read_flat_keyed(file(group, "memory.stat"));
      out.memory_usage_bytes = read_number(file(group, "memory.current")).value_or(0);
      std::uint64_t inactive = memory["inactive_file"];
      out.memory_working_set_bytes = out.memory_usage_bytes > inactive ? out.memory_usage_bytes - inactive : 0;
      out.memory_rss_bytes = memory["anon"];
      out.memory_page_faults = memory["pgfault"];
      out.memory_major_page_faults = memory["pgmajfault"];
      out.memory_limit_bytes = read_number(file(group, "memory.max")).value_or(0);
      out.oom_kills = read_flat_keyed(file(group, "memory.events"))["oom_kill"];
    }
    out.pids_current = read_number(file(group, "pids.current")).value_or(0);
    out.pids_limit = read_number(file(group, "pids.max")).value_or(0);
    return out;
  }

  Result<std::vector<std::string>> children(const std::string& group) override { return list_directories(root_ + "/" + group); }
  std::string path(const std::string& group) const override { return root_ + "/" + group; }
  std::vector<std::pair<std::string, std::string>> views(const std::string& group) const override { return {{"", root_ + "/" + group}}; }

 private:
  Result<> check(std::string_view controller) const {
    if (controller.empty() || controller == "cgroup" || has(controller)) return {};
    return fail(Code::kUnimplemented, cat("this machine has no ", controller, " control group"));
  }
  std::string file(const std::string& group, const char* name) const { return root_ + "/" + group + "/" + name; }
  // One at a time: a controller that cannot be had must not keep the others away.
  void enable_controllers(const std::string& path) {
    Result<std::string> now = read_host_file(path + "/cgroup.subtree_control");
    for (const std::string& name : controllers_) {
      if (now) {
        auto enabled = split(trim(*now), ' ');
        if (std::find(enabled.begin(), enabled.end(), name) != enabled.end()) continue;
      }
      Result<> written = write_host_file(path + "/cgroup.subtree_control", "+" + name);
      if (!written) warn_once(enable_said_, "a control group controller cannot be enabled", written.error());
    }
  }
  void set(std::atomic<bool>& said, const std::string& group, const char* name, const std::string& value) {
    Result<> written = write_host_file(file(group, name), value);
    if (!written) warn_once(said, "a resource limit is not applied", written.error());
  }

  std::string root_;
  std::vector<std::string> controllers_;
  std::atomic<bool> enable_said_ = false;
  std::atomic<bool> cpu_said_ = false;
  std::atomic<bool> memory_said_ = false;
  std::atomic<bool> pids_said_ = false;
  std::atomic<bool> devices_said_ = false;
};

// A group that hands controllers to children may hold no process itself (the true root may): everybody moves to the leaf.
Result<> move_to_leaf(const std::string& root, const std::string& leaf) {
  if (!file_exists(root + "/cgroup.type")) return {};  // the true root
  TRY(make_path(root, leaf));
  for (int round = 0; round < kMoveRounds; ++round) {
    TRY_ASSIGN(std::string text, read_host_file(root + "/cgroup.procs", 1U << 20));
    std::string_view pids = trim(text);
    if (pids.empty()) return {};
    for (std::string_view pid : split(pids, '\n')) {
      Result<> moved = write_host_file(root + "/" + leaf + "/cgroup.procs", pid);
      if (!moved && moved.error().os_errno() != ESRCH) return moved;
    }
  }
  return fail(Code::kFailedPrecondition, cat("control group ", root, " does not empty"));
}

}  // namespace

Result<std::unique_ptr<Cgroups>> open_cgroup_v2(const std::string& own, const CgroupOptions& options) {
  std::string root = own;
  // After a restart we are in the leaf already.
  if (options.root.empty() && root.ends_with("/" + options.leaf)) root.resize(root.size() - options.leaf.size() - 1);
  if (options.make_room) {
    Result<> moved = move_to_leaf(root, options.leaf);
    if (!moved) return fail(std::move(moved).error().with("make room for container control groups"));
  }
  return std::make_unique<CgroupsV2>(root, options.controllers);
}

}  // namespace monopod::sys
