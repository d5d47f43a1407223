#include "container/oci/resources.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "base/strings.h"

namespace monopod::container::oci {
namespace {

enum class Kind { kNumber, kLimit, kText, kBool, kShares, kIoWeight };

struct Row {
  std::string_view object;
  std::string_view member;
  Kind kind;
  const char* controller_v1;
  const char* file_v1;
  const char* controller_v2;
  const char* file_v2;  // null: not on v2
};
// kLimit: below 0 is none ("-1" on v1, "max" on v2).
constexpr std::array kRows = {
    Row{"memory", "reservation", Kind::kLimit, "memory", "memory.soft_limit_in_bytes", "memory", "memory.low"},
    Row{"memory", "kernelTCP", Kind::kLimit, "memory", "memory.kmem.tcp.limit_in_bytes", "memory", nullptr},
    Row{"memory", "swappiness", Kind::kNumber, "memory", "memory.swappiness", "memory", nullptr},
    Row{"memory", "disableOOMKiller", Kind::kBool, "memory", "memory.oom_control", "memory", nullptr},
    Row{"memory", "useHierarchy", Kind::kBool, "memory", "memory.use_hierarchy", "", ""},
    Row{"cpu", "shares", Kind::kShares, "cpu", "cpu.shares", "cpu", "cpu.weight"},
    Row{"cpu", "burst", Kind::kNumber, "cpu", "cpu.cfs_burst_us", "cpu", "cpu.max.burst"},
    Row{"cpu", "realtimePeriod", Kind::kNumber, "cpu", "cpu.rt_period_us", "cpu", nullptr},
    Row{"cpu", "realtimeRuntime", Kind::kNumber, "cpu", "cpu.rt_runtime_us", "cpu", nullptr},
    Row{"cpu", "idle", Kind::kNumber, "cpu", "cpu.idle", "cpu", "cpu.idle"},
    Row{"cpu", "cpus", Kind::kText, "cpuset", "cpuset.cpus", "cpuset", "cpuset.cpus"},
    Row{"cpu", "mems", Kind::kText, "cpuset", "cpuset.mems", "cpuset", "cpuset.mems"},
    Row{"blockIO", "weight", Kind::kIoWeight, "blkio", "blkio.weight", "io", "io.weight"},
    Row{"blockIO", "leafWeight", Kind::kNumber, "blkio", "blkio.leaf_weight", "io", nullptr},
    Row{"network", "classID", Kind::kNumber, "net_cls", "net_cls.classid", "net_cls", nullptr}};

struct Throttle {
  std::string_view member;
  const char* file_v1;
  const char* key_v2;
};
constexpr std::array kThrottles = {Throttle{"throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps"},
                                   Throttle{"throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps"},
                                   Throttle{"throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops"},
                                   Throttle{"throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops"}};

std::unexpected<Error> wrong(std::string_view member, std::string_view wanted) {
  return fail(Code::kInvalidArgument, cat("linux.resources.", member, " is not ", wanted));
}

// Signed, with 2^64-1 (what some clients write for -1) as -1; nullopt where absent.
Result<std::optional<std::int64_t>> number_of(const json::Object& object, std::string_view name, std::string_view member) {
  auto it = object.find(name);
  if (it == object.end() || it->value().is_null()) return std::nullopt;
  if (it->value().is_int64()) return it->value().get_int64();
  if (it->value().is_uint64()) {
    std::uint64_t value = it->value().get_uint64();
    if (value == ~std::uint64_t{0}) return -1;
  }
  return wrong(member, "a number in range");
}

const json::Object* member_object(const json::Object& from, std::string_view name, Result<>& status) {
  auto it = from.find(name);
  if (it == from.end() || it->value().is_null()) return nullptr;
  if (it->value().is_object()) return &it->value().get_object();
  status = wrong(name, "an object");
  return nullptr;
}

// A file name of a control group, without ways out.
bool plain_file(std::string_view name) {
  return !name.empty() && name.size() < 128 && name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos && name[0] != '.';
}

class Planner {
 public:
  explicit Planner(bool v2) : v2_(v2) {}

  Result<std::vector<Setting>> plan(const json::Object& resources) {
    Result<> status;
    for (const Row& row : kRows) {
      const json::Object* object = member_object(resources, row.object, status);
      if (object != nullptr) TRY(add_row(*object, row));
    }
    if (const json::Object* memory = member_object(resources, "memory", status)) TRY(add_memory(*memory));
    if (const json::Object* cpu = member_object(resources, "cpu", status)) TRY(add_quota(*cpu));
    if (const json::Object* pids = member_object(resources, "pids", status)) TRY(add_pids(*pids));
    if (const json::Object* io = member_object(resources, "blockIO", status)) TRY(add_block_io(*io));
    if (const json::Object* network = member_object(resources, "network", status)) TRY(add_priorities(*network));
    if (const json::Object* rdma = member_object(resources, "rdma", status)) TRY(add_rdma(*rdma));
    TRY(add_huge_pages(resources));
    if (const json::Object* unified = member_object(resources, "unified", status)) TRY(add_unified(*unified));
    TRY(std::move(status));
    return std::move(out_);
  }

 private:
  void add(std::string_view member, std::string_view controller, std::string_view file, std::string value, bool may_fail = false) {
    out_.push_back({std::string(member), std::string(controller), std::string(file), std::move(value), may_fail});
  }
  // crun's and runc's conversion of 10-1000 to 1-10000, but for BFQ, whose scale is v1's.
  void add_io_weight(std::string_view member, std::string_view of, std::string_view of_bfq, std::int64_t weight) {
    add(member, "io", "io.weight", cat(of, 1 + (weight - 10) * 9999 / 990));
    out_.back().bfq_value = cat(of_bfq, weight);
  }
  std::string limit(std::int64_t value) const { return value < 0 ? (v2_ ? "max" : "-1") : cat(value); }

  Result<> not_on_v2(std::string_view member) const {
    return fail(Code::kUnimplemented, cat("linux.resources.", member, " is not in control groups v2"));
  }

  Result<> add_row(const json::Object& object, const Row& row) {
    auto it = object.find(row.member);
    if (it == object.end() || it->value().is_null()) return {};
    std::string member = cat(row.object, ".", row.member);
    std::string value;
    if (row.kind == Kind::kText) {
      if (!it->value().is_string()) return wrong(member, "a string");
      value = it->value().get_string();
      if (value.empty()) return {};
    } else if (row.kind == Kind::kBool) {
      if (!it->value().is_bool()) return wrong(member, "a boolean");
      if (!it->value().get_bool()) return {};
      value = "1";
    } else {
      TRY_ASSIGN(std::optional<std::int64_t> number, number_of(object, row.member, member));
      // What clients that have no notion of absence write.
      if (!number || (*number == 0 && row.kind != Kind::kLimit && row.member != "swappiness" && row.member != "idle")) return {};
      if (*number < 0 && row.kind != Kind::kLimit && row.member != "realtimeRuntime") {
        if (row.member == "swappiness") return {};
        return wrong(member, "a number in range");
      }
      if (row.member == "swappiness" && *number > 100) return wrong(member, "in 0-100");
      if (row.kind == Kind::kIoWeight && (*number < 10 || *number > 1000)) return wrong(member, "in 10-1000");
      if (row.kind == Kind::kLimit && *number == 0) return {};
      value = row.kind == Kind::kLimit ? limit(*number) : cat(*number);
      if (v2_ && row.kind == Kind::kShares) value = cat(sys::cpu_weight_of_shares(static_cast<std::uint64_t>(*number)));
      if (v2_ && row.kind == Kind::kIoWeight) {
        add_io_weight(member, "default ", "", *number);
        return {};
      }
    }
    if (v2_ && row.file_v2 == nullptr) return not_on_v2(member);
    if (v2_ && *row.file_v2 == '\0') return {};
    add(member, v2_ ? row.controller_v2 : row.controller_v1, v2_ ? row.file_v2 : row.file_v1, std::move(value));
    return {};
  }

  Result<> add_memory(const json::Object& memory) {
    TRY_ASSIGN(std::optional<std::int64_t> bytes, number_of(memory, "limit", "memory.limit"));
    TRY_ASSIGN(std::optional<std::int64_t> both, number_of(memory, "swap", "memory.swap"));
    if (bytes == 0) bytes.reset();
    if (both == 0) both.reset();
    if (both && *both > 0 && bytes && *bytes > *both) return fail(Code::kInvalidArgument, "linux.resources.memory.swap is below memory.limit: it counts both");
    if (v2_) {
      if (bytes) add("memory.limit", "memory", "memory.max", limit(*bytes));
      if (!both) return {};
      if (*both > 0 && (!bytes || *bytes < 0)) return fail(Code::kInvalidArgument, "linux.resources.memory.swap needs memory.limit");
      add("memory.swap", "memory", "memory.swap.max", *both < 0 ? "max" : cat(*both - *bytes));
      return {};
    }
    // Neither may pass the other on the way: tried in both orders.
    if (bytes) add("memory.limit", "memory", "memory.limit_in_bytes", limit(*bytes), both.has_value());
    if (both) add("memory.swap", "memory", "memory.memsw.limit_in_bytes", limit(*both));
    if (bytes && both) add("memory.limit", "memory", "memory.limit_in_bytes", limit(*bytes));
    return {};
  }

  Result<> add_quota(const json::Object& cpu) {
    TRY_ASSIGN(std::optional<std::int64_t> quota, number_of(cpu, "quota", "cpu.quota"));
    TRY_ASSIGN(std::optional<std::int64_t> period, number_of(cpu, "period", "cpu.period"));
    if (quota == 0) quota.reset();
    if (period == 0) period.reset();
    if (period && (*period < 1000 || *period > 1'000'000)) return wrong("cpu.period", "in 1000-1000000 microseconds");
    if (v2_) {
      if (quota || period) add("cpu.quota", "cpu", "cpu.max", cat(quota && *quota > 0 ? cat(*quota) : "max", " ", period.value_or(100'000)));
      return {};
    }
    if (period) add("cpu.period", "cpu", "cpu.cfs_period_us", cat(*period));
    if (quota) add("cpu.quota", "cpu", "cpu.cfs_quota_us", *quota > 0 ? cat(*quota) : "-1");
    return {};
  }

  Result<> add_pids(const json::Object& pids) {
    TRY_ASSIGN(std::optional<std::int64_t> number, number_of(pids, "limit", "pids.limit"));
    if (number && *number != 0) add("pids.limit", "pids", "pids.max", *number > 0 ? cat(*number) : "max");
    return {};
  }

  Result<> add_block_io(const json::Object& io) {
    for (const char* member : {"weightDevice", "throttleReadBpsDevice", "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice"}) {
      auto it = io.find(member);
      if (it == io.end() || it->value().is_null()) continue;
      std::string name = cat("blockIO.", member);
      if (!it->value().is_array()) return wrong(name, "a list");
      for (const json::Value& item : it->value().get_array()) {
        if (!item.is_object()) return wrong(name, "a list of objects");
        TRY_ASSIGN(std::optional<std::int64_t> major, number_of(item.get_object(), "major", name));
        TRY_ASSIGN(std::optional<std::int64_t> minor, number_of(item.get_object(), "minor", name));
        if (!major || !minor || *major < 0 || *minor < 0) return wrong(name, "a list of devices with major and minor");
        TRY(add_device(item.get_object(), name, member, cat(*major, ":", *minor)));
      }
    }
    return {};
  }

  Result<> add_device(const json::Object& item, const std::string& name, std::string_view member, const std::string& device) {
    if (member == "weightDevice") {
      TRY_ASSIGN(std::optional<std::int64_t> weight, number_of(item, "weight", name));
      TRY_ASSIGN(std::optional<std::int64_t> leaf, number_of(item, "leafWeight", name));
      if (weight && (*weight < 10 || *weight > 1000)) return wrong(name, "of weights in 10-1000");
      if (weight && v2_) add_io_weight(name, cat(device, " "), cat(device, " "), *weight);
      if (weight && !v2_) add(name, "blkio", "blkio.weight_device", cat(device, " ", *weight));
      if (leaf && v2_) return not_on_v2("blockIO.weightDevice.leafWeight");
      if (leaf) add(name, "blkio", "blkio.leaf_weight_device", cat(device, " ", *leaf));
      return {};
    }
    auto row = std::find_if(kThrottles.begin(), kThrottles.end(), [&](const Throttle& t) { return t.member == member; });
    TRY_ASSIGN(std::optional<std::int64_t> rate, number_of(item, "rate", name));
    if (!rate || *rate < 0) return wrong(name, "a list of devices with a rate");
    if (v2_) add(name, "io", "io.max", cat(device, " ", row->key_v2, "=", *rate == 0 ? "max" : cat(*rate)));
    else add(name, "blkio", row->file_v1, cat(device, " ", *rate));
    return {};
  }

  Result<> add_priorities(const json::Object& network) {
    auto it = network.find("priorities");
    if (it == network.end() || it->value().is_null()) return {};
    if (!it->value().is_array()) return wrong("network.priorities", "a list");
    if (v2_ && !it->value().get_array().empty()) return not_on_v2("network.priorities");
    for (const json::Value& item : it->value().get_array()) {
      std::string_view name = json::get_string(item, {"name"});
      if (name.empty() || name.find_first_of(" \n") != std::string_view::npos) return wrong("network.priorities", "a list of names and priorities");
      add("network.priorities", "net_prio", "net_prio.ifpriomap", cat(name, " ", json::get_int(item, {"priority"})));
    }
    return {};
  }

  Result<> add_rdma(const json::Object& rdma) {
    for (const auto& device : rdma) {
      std::string_view name = device.key();
      if (!device.value().is_object() || name.find_first_of(" \n") != std::string_view::npos) return wrong("rdma", "an object of devices");
      std::string value(name);
      for (const auto& [member, key] : {std::pair("hcaHandles", "hca_handle"), std::pair("hcaObjects", "hca_object")}) {
        TRY_ASSIGN(std::optional<std::int64_t> number, number_of(device.value().get_object(), member, cat("rdma.", member)));
        if (number) value += cat(" ", key, "=", *number);
      }
      add("rdma", "rdma", "rdma.max", std::move(value));
    }
    return {};
  }

  Result<> add_huge_pages(const json::Object& resources) {
    auto it = resources.find("hugepageLimits");
    if (it == resources.end() || it->value().is_null()) return {};
    if (!it->value().is_array()) return wrong("hugepageLimits", "a list");
    for (const json::Value& item : it->value().get_array()) {
      std::string_view size = json::get_string(item, {"pageSize"});
      if (!item.is_object() || !plain_file(size)) return wrong("hugepageLimits", "a list of page sizes and limits");
      TRY_ASSIGN(std::optional<std::int64_t> bytes, number_of(item.get_object(), "limit", "hugepageLimits.limit"));
      if (!bytes) return wrong("hugepageLimits", "a list of page sizes and limits");
      add("hugepageLimits", "hugetlb", cat("hugetlb.", size, v2_ ? ".max" : ".limit_in_bytes"), cat(*bytes));
    }
    return {};
  }

  Result<> add_unified(const json::Object& unified) {
    if (!v2_ && !unified.empty()) return fail(Code::kUnimplemented, "invalid configuration: linux.resources.unified needs control groups v2 alone");
    for (const auto& file : unified) {
      std::string_view name = file.key();
      if (!file.value().is_string() || !plain_file(name)) return wrong(cat("unified.", name), "a file of a control group and its text");
      add(cat("unified.", name), split_once(name, '.').first, name, std::string(file.value().get_string()));
    }
    return {};
  }

  bool v2_;
  std::vector<Setting> out_;
};

}  // namespace

void merge_resources(json::Value& into, const json::Value& from) {
  if (!into.is_object() || !from.is_object()) {
    into = from;
    return;
  }
  for (const auto& member : from.get_object()) {
    if (member.value().is_null()) continue;
    merge_resources(into.get_object()[member.key()], member.value());
  }
}

namespace {

constexpr std::string_view kObjects[] = {"memory", "cpu", "pids", "blockIO", "network", "hugepageLimits", "rdma", "unified", "devices"};
constexpr std::string_view kMembers[] = {"limit", "reservation", "swap", "kernel", "kernelTCP", "swappiness", "disableOOMKiller", "useHierarchy", "checkBeforeUpdate", "shares", "quota", "burst",
                                         "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems", "idle", "weight", "leafWeight", "weightDevice", "throttleReadBpsDevice",
                                         "throttleWriteBpsDevice", "throttleReadIOPSDevice", "throttleWriteIOPSDevice", "classID", "priorities"};

void spell(json::Object& object, std::span<const std::string_view> names) {
  for (std::string_view name : names) {
    auto other = [&](const auto& member) { return member.key() != name && iequals(member.key(), name); };
    for (auto it = std::ranges::find_if(object, other); it != object.end(); it = std::ranges::find_if(object, other)) {
      json::Value value = std::move(it->value());
      object.erase(it);
      merge_resources(object[name], value);
    }
  }
}

}  // namespace

json::Value spell_resources(json::Value resources) {
  if (!resources.is_object()) return resources;
  spell(resources.get_object(), kObjects);
  for (std::string_view name : {"memory", "cpu", "pids", "blockIO", "network"})
    if (json::Value* one = json::find(resources, {name}); one != nullptr && one->is_object()) spell(one->get_object(), kMembers);
  return resources;
}

Result<> check_memory_use(const json::Value& resources, std::uint64_t memory_bytes, std::uint64_t swap_bytes) {
  if (!json::get_bool(resources, {"memory", "checkBeforeUpdate"})) return {};
  auto above = [&](std::string_view member, std::uint64_t used) {
    std::int64_t limit = json::get_int(resources, {"memory", member});
    return limit > 0 && used > static_cast<std::uint64_t>(limit);
  };
  if (above("swap", memory_bytes + swap_bytes)) return fail(Code::kFailedPrecondition, cat("rejecting memory+swap limit below the ", memory_bytes + swap_bytes, " bytes in use"));
  if (above("limit", memory_bytes)) return fail(Code::kFailedPrecondition, cat("rejecting memory limit below the ", memory_bytes, " bytes in use"));
  return {};
}

Result<std::vector<Setting>> plan_resources(const json::Value& resources, bool v2) {
  if (resources.is_null()) return std::vector<Setting>();
  if (!resources.is_object()) return fail(Code::kInvalidArgument, "linux.resources is not an object");
  return Planner(v2).plan(resources.get_object());
}

std::vector<std::string> controllers_of(const std::vector<Setting>& settings) {
  std::vector<std::string> out;
  for (const Setting& setting : settings) {
    if (std::find(out.begin(), out.end(), setting.controller) == out.end()) out.push_back(setting.controller);
  }
  return out;
}

Result<> apply_resources(sys::Cgroups& groups, const std::string& group, const std::vector<Setting>& settings) {
  for (const Setting& setting : settings) {
    // One write is one line for the kernel.
    for (std::string_view line : split(setting.value, '\n')) {
      if (!setting.bfq_value.empty() && groups.write(group, setting.controller, "io.bfq.weight", setting.bfq_value)) continue;
      Result<> written = groups.write(group, setting.controller, setting.file, line);
      // The same knob of the one scheduler that still has it, under its own name.
      if (!written && written.error().os_errno() == ENOENT && setting.file.starts_with("blkio.weight"))
        written = groups.write(group, setting.controller, cat("blkio.bfq.", std::string_view(setting.file).substr(6)), line);
      if (!written && !setting.may_fail) return fail(std::move(written).error().with(cat("linux.resources.", setting.member)));
    }
  }
  return {};
}

Result<std::vector<sys::DeviceRule>> parse_device_rules(const json::Value& resources) {
  std::vector<sys::DeviceRule> out;
  const json::Value* devices = json::find(resources, {"devices"});
  if (devices == nullptr || devices->is_null()) return out;
  if (!devices->is_array()) return wrong("devices", "a list");
  for (const json::Value& item : devices->get_array()) {
    if (!item.is_object()) return wrong("devices", "a list of objects");
    sys::DeviceRule rule;
    rule.allow = json::get_bool(item, {"allow"});
    std::string_view type = json::get_string(item, {"type"}, "a");
    if (type != "a" && type != "b" && type != "c" && type != "u" && !type.empty()) return wrong("devices.type", "a, b, c or u");
    rule.type = type.empty() ? 'a' : type == "u" ? 'c' : type[0];
    std::string_view access = json::get_string(item, {"access"}, "rwm");
    if (access.find_first_not_of("rwm") != std::string_view::npos) return wrong("devices.access", "of r, w and m");
    rule.access = access.empty() ? "rwm" : access;
    for (const auto& [name, to] : {std::pair("major", &rule.major), std::pair("minor", &rule.minor)}) {
      TRY_ASSIGN(std::optional<std::int64_t> number, number_of(item.get_object(), name, cat("devices.", name)));
      if (!number || *number == -1) continue;
      if (*number < 0 || *number > 0xffffffffLL) return wrong(cat("devices.", name), "a device number");
      *to = static_cast<std::uint32_t>(*number);
    }
    out.push_back(std::move(rule));
  }
  return out;
}

}  // namespace monopod::container::oci
