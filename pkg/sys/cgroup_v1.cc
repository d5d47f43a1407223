// v1 and hybrid. Each attach to a v1 hierarchy costs milliseconds, so a container enters only memory, cpu and pids; the v2 tree, where it
// is mounted beside them, gives kill, freeze, cpu time and device rules for one cheap entry at birth.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>

#include "base/strings.h"
#include "sys/cgroup_tree.h"
#include "sys/device_filter.h"
#include "sys/root.h"

namespace monopod::sys {
namespace {

// v1 answers "no limit" as the largest page-aligned number.
constexpr std::uint64_t kUnlimited = 0x7fff'ffff'ffff'0000ULL;

class CgroupsV1 final : public Cgroups {
 public:
  CgroupsV1(const V1Roots& roots, const CgroupOptions& options) : unified_(roots.unified) {
    // What the v2 tree offers is not entered a second time.
    for (const char* name : {"memory", "cpu", "pids"}) enter(roots, name);
    if (unified_.empty()) {
      for (const char* name : {"cpuacct", "freezer", "devices"}) enter(roots, name);
    }
    for (const std::string& name : options.controllers) enter(roots, name);
  }

  CgroupMode mode() const override { return unified_.empty() ? CgroupMode::kV1 : CgroupMode::kHybrid; }
  bool has_memory() const override { return has("memory"); }
  bool has_cpu() const override { return has("cpu"); }
  bool has_pids() const override { return has("pids"); }

  Result<> create(const std::string& group) override {
    for (const std::string& root : distinct_roots()) TRY(make_path(root, group));
    if (auto cpuset = roots_.find("cpuset"); cpuset != roots_.end()) TRY(fill_cpuset(cpuset->second, group));
    return {};
  }

  Result<> remove(const std::string& group) override {
    for (const std::string& root : distinct_roots()) TRY(remove_path(root + "/" + group));
    return {};
  }

  Result<> set_limits(const std::string& group, const CgroupLimits& limits) override {
    if (limits.cpu_shares) set(cpu_said_, "cpu", group, "cpu.shares", cat(std::max<std::uint64_t>(2, *limits.cpu_shares)));
    if (limits.cpu_quota_us) {
      set(cpu_said_, "cpu", group, "cpu.cfs_period_us", cat(limits.cpu_period_us.value_or(100'000)));
      set(cpu_said_, "cpu", group, "cpu.cfs_quota_us", cat(*limits.cpu_quota_us > 0 ? *limits.cpu_quota_us : -1));
    }
    if (limits.memory_bytes_max) {
      std::string bytes = cat(*limits.memory_bytes_max < 0 ? -1 : *limits.memory_bytes_max);
      std::string both = limits.memory_swap_bytes_max ? cat(*limits.memory_swap_bytes_max) : std::string();
      std::string swap_file = file("memory", group, "memory.memsw.limit_in_bytes");
      bool swap = !both.empty() && has("memory") && file_exists(swap_file);
      // Lowering: memory first; raising: memory+swap first, since the one may never exceed the other.
      if (swap && !write_host_file(file("memory", group, "memory.limit_in_bytes"), bytes)) (void)write_host_file(swap_file, both);
      set(memory_said_, "memory", group, "memory.limit_in_bytes", bytes);
      if (swap) set(memory_said_, "memory", group, "memory.memsw.limit_in_bytes", both);
    }
    if (limits.pids_max) set(pids_said_, "pids", group, "pids.max", *limits.pids_max > 0 ? cat(*limits.pids_max) : "max");
    if (limits.cpuset_cpus && !limits.cpuset_cpus->empty())
      warn_once(cpuset_said_, "cpu sets are not applied with control groups v1", Error(Code::kUnimplemented, "cpuset"));
    return {};
  }

  bool has(std::string_view controller) const override { return roots_.contains(std::string(controller)); }
  Result<> write(const std::string& group, std::string_view controller, std::string_view name, std::string_view value) override {
    TRY_ASSIGN(std::string path, control_file(group, controller, name));
    return write_host_file(path, value);
  }
  Result<std::string> read(const std::string& group, std::string_view controller, std::string_view name) override {
    TRY_ASSIGN(std::string path, control_file(group, controller, name));
    return read_host_file(path);
  }

  Result<> set_devices(const std::string& group, const std::vector<DeviceRule>& rules) override {
    if (!unified_.empty() && !has("devices")) {
      Fd directory(::open((unified_ + "/" + group).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!directory) return fail_errno(cat("open control group ", group));
      Result<> attached = attach_device_filter(directory.get(), rules);
      if (!attached) warn_once(devices_said_, "device rules are not enforced", attached.error());
      return {};
    }
    if (!has("devices")) {
      warn_once(devices_said_, "device rules are not enforced", Error(Code::kUnimplemented, "this machine has no devices control group"));
      return {};
    }
    Fd files[2] = {Fd(::open(file("devices", group, "devices.deny").c_str(), O_WRONLY | O_CLOEXEC)),
                   Fd(::open(file("devices", group, "devices.allow").c_str(), O_WRONLY | O_CLOEXEC))};
    for (const DeviceRule& rule : rules) {
      auto number = [](const std::optional<std::uint32_t>& n) { return n ? cat(*n) : std::string("*"); };
      Result<> written = write_all(files[rule.allow ? 1 : 0].get(), cat(rule.type, " ", number(rule.major), ":", number(rule.minor), " ", rule.access));
      if (!written) warn_once(devices_said_, "a device rule is not enforced", written.error());
    }
    return {};
  }

  Result<Entry> open_entry(const std::string& group) override {
    Entry out;
    for (const auto& [name, root] : roots_) {
      // A thread that moves itself alone needs no lock of the whole system: cgroup.procs waits for an RCU grace period, some 10 ms.
      std::string path = root + "/" + group + "/tasks";
      Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
      if (!fd) return fail_errno(cat("open ", path));
      out.procs.push_back(std::move(fd));
    }
    if (!unified_.empty()) {
      std::string path = unified_ + "/" + group;
      out.cgroup = Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      if (!out.cgroup) return fail_errno(cat("open ", path));
    }
    return out;
  }

  Result<std::vector<int>> processes(const std::string& group) override {
    std::vector<int> out;
    collect_processes(any(group), out);
    return out;
  }

  Result<> kill_all(const std::string& group) override {
    if (!unified_.empty()) {
      Result<> killed = write_host_file(unified_ + "/" + group + "/cgroup.kill", "1");
      if (killed || killed.error().os_errno() != ENOENT) return killed;
    }
    std::string path = any(group);
    if (!file_exists(path)) return {};
    return kill_by_signal(path);
  }

  Result<> set_frozen(const std::string& group, bool frozen) override {
    if (!unified_.empty()) return write_host_file(unified_ + "/" + group + "/cgroup.freeze", frozen ? "1" : "0");
    if (!has("freezer")) return fail(Code::kUnimplemented, "this machine has no freezer control group");
    return write_host_file(file("freezer", group, "freezer.state"), frozen ? "FROZEN" : "THAWED");
  }

  bool is_frozen(const std::string& group) override {
    if (!unified_.empty()) return read_number(unified_ + "/" + group + "/cgroup.freeze") == 1;
    Result<std::string> state = has("freezer") ? read_host_file(file("freezer", group, "freezer.state")) : Result<std::string>("");
    return state && state->starts_with("FR");
  }

  Result<CgroupStats> stats(const std::string& group) override {
    if (!file_exists(any(group))) return fail(Code::kNotFound, cat("control group ", group));
    CgroupStats out;
    if (!unified_.empty()) {
      out.cpu_usage_ns = read_flat_keyed(unified_ + "/" + group + "/cpu.stat")["usage_usec"] * 1000;
    } else if (has("cpuacct")) {
      out.cpu_usage_ns = read_number(file("cpuacct", group, "cpuacct.usage")).value_or(0);
    }
    if (has("cpu")) {
      auto cpu = read_flat_keyed(file("cpu", group, "cpu.stat"));
      out.cpu_throttled_ns = cpu["throttled_time"];
      out.cpu_throttled_periods = cpu["nr_throttled"];
    }
    if (has("memory")) {
      auto memory = read_flat_keyed(file("memory", group, "memory.stat"));
      out.memory_usage_bytes = read_number(file("memory", group, "memory.usage_in_bytes")).value_or(0);
      std::uint64_t inactive = memory["total_inactive_file"];
      out.memory_working_set_bytes = out.memory_usage_bytes > inactive ? out.memory_usage_bytes - inactive : 0;
      out.memory_rss_bytes = memory["total_rss"];
      out.memory_page_faults = memory["total_pgfault"];
      out.memory_major_page_faults = memory["total_pgmajfault"];
      std::uint64_t limit = read_number(file("memory", group, "memory.limit_in_bytes")).value_or(0);
      out.memory_limit_bytes = limit >= kUnlimited ? 0 : limit;
      out.oom_kills = read_flat_keyed(file("memory", group, "memory.oom_control"))["oom_kill"];
    }
    if (has("pids")) {
      out.pids_current = read_number(file("pids", group, "pids.current")).value_or(0);
      out.pids_limit = read_number(file("pids", group, "pids.max")).value_or(0);
    }
    return out;
  }

  Result<std::vector<std::string>> children(const std::string& group) override { return list_directories(any(group)); }
  std::string path(const std::string& group) const override { return any(group); }
  std::vector<std::pair<std::string, std::string>> views(const std::string& group) const override {
    std::vector<std::pair<std::string, std::string>> out;
    for (const auto& [name, root] : roots_) out.emplace_back(name, root + "/" + group);
    if (!unified_.empty()) out.emplace_back("unified", unified_ + "/" + group);
    return out;
  }

 private:
  void enter(const V1Roots& roots, const std::string& name) {
    if (auto it = roots.controllers.find(name); it != roots.controllers.end()) roots_[name] = it->second;
  }
  // An empty set of cpus or memory nodes takes no process: what the parent has, from the top down.
  static Result<> fill_cpuset(const std::string& root, const std::string& group) {
    std::string path = root;
    for (std::string_view part : split(group, '/')) {
      if (part.empty()) continue;
      std::string child = cat(path, "/", part);
      for (const char* name : {"/cpuset.cpus", "/cpuset.mems"}) {
        TRY_ASSIGN(std::string now, read_host_file(child + name));
        if (!trim(now).empty()) continue;
        TRY_ASSIGN(std::string above, read_host_file(path + name));
        TRY(write_host_file(child + name, trim(above)));
      }
      path = std::move(child);
    }
    return {};
  }
  Result<std::string> control_file(const std::string& group, std::string_view controller, std::string_view name) const {
    auto it = roots_.find(std::string(controller));
    if (it == roots_.end()) return fail(Code::kUnimplemented, cat("this machine has no ", controller, " control group"));
    return cat(it->second, "/", group, "/", name);
  }
  std::string file(const std::string& controller, const std::string& group, const char* name) const {
    auto it = roots_.find(controller);
    return it == roots_.end() ? std::string() : it->second + "/" + group + "/" + name;
  }
  // A directory in which the group's processes are listed.
  std::string any(const std::string& group) const {
    if (!unified_.empty()) return unified_ + "/" + group;
    return roots_.empty() ? std::string() : roots_.begin()->second + "/" + group;
  }
  std::vector<std::string> distinct_roots() const {
    std::vector<std::string> out;
    if (!unified_.empty()) out.push_back(unified_);
    for (const auto& [name, root] : roots_) {
      if (std::find(out.begin(), out.end(), root) == out.end()) out.push_back(root);  // cpu,cpuacct may be one mount
    }
    return out;
  }
  void set(std::atomic<bool>& said, const std::string& controller, const std::string& group, const char* name, const std::string& value) {
    Result<> written = has(controller) ? write_host_file(file(controller, group, name), value)
                                       : fail(Code::kUnimplemented, cat("this machine has no ", controller, " control group"));
    if (!written) warn_once(said, "a resource limit is not applied", written.error());
  }

  std::map<std::string, std::string> roots_;
  std::string unified_;
  std::atomic<bool> cpu_said_ = false;
  std::atomic<bool> memory_said_ = false;
  std::atomic<bool> pids_said_ = false;
  std::atomic<bool> cpuset_said_ = false;
  std::atomic<bool> devices_said_ = false;
};

}  // namespace

Result<std::unique_ptr<Cgroups>> open_cgroup_v1(const V1Roots& roots, const CgroupOptions& options) { return std::make_unique<CgroupsV1>(roots, options); }

}  // namespace monopod::sys
