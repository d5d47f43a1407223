// config.json both ways. One visitor of fields serves reading and writing, so the two cannot drift apart.
#include <algorithm>
#include <array>

#include "base/strings.h"
#include "container/config.h"

namespace monopod::container {
namespace {

using json::Array;
using json::Object;
using json::Value;

struct NamespaceName {
  NamespaceType type;
  std::string_view name;
};
constexpr std::array kNamespaceNames = {
    NamespaceName{NamespaceType::kPid, "pid"},   NamespaceName{NamespaceType::kNetwork, "network"}, NamespaceName{NamespaceType::kMount, "mount"},
    NamespaceName{NamespaceType::kIpc, "ipc"},   NamespaceName{NamespaceType::kUts, "uts"},         NamespaceName{NamespaceType::kUser, "user"},
    NamespaceName{NamespaceType::kCgroup, "cgroup"}, NamespaceName{NamespaceType::kTime, "time"}};

std::unexpected<Error> wrong(std::string_view name, std::string_view wanted) { return fail(Code::kInvalidArgument, cat("config: ", name, " is not ", wanted)); }

// Fields of one object, read or written by the same list of calls.
class Fields {
 public:
  Fields(const Object* from, Object* to) : from_(from), to_(to) {}
  bool reading() const { return from_ != nullptr; }
  Result<> status() const { return status_; }
  void fail_with(Result<> result) {
    if (status_ && !result) status_ = std::move(result);
  }

  const Value* member(std::string_view name) const {
    auto it = from_->find(name);
    return it == from_->end() || it->value().is_null() ? nullptr : &it->value();
  }

  void field(std::string_view name, std::string& v) {
    if (!reading()) {
      if (!v.empty()) (*to_)[name] = v;
    } else if (const Value* m = member(name)) {
      if (!m->is_string()) return fail_with(wrong(name, "a string"));
      v = std::string_view(m->get_string());
    }
  }
  void field(std::string_view name, bool& v) {
    if (!reading()) {
      if (v) (*to_)[name] = v;
    } else if (const Value* m = member(name)) {
      if (!m->is_bool()) return fail_with(wrong(name, "a boolean"));
      v = m->get_bool();
    }
  }
  template <typename T>
    requires std::is_integral_v<T> && (!std::is_same_v<T, bool>)
  void field(std::string_view name, T& v) {
    if (!reading()) {
      (*to_)[name] = v;
    } else if (const Value* m = member(name)) {
      boost::system::error_code ec;
      T number = m->to_number<T>(ec);
      if (ec || m->is_double()) return fail_with(wrong(name, "a number in range"));
      v = number;
    }
  }
  void field(std::string_view name, std::vector<std::string>& v) {
    if (!reading()) {
      if (!v.empty()) (*to_)[name] = Array(v.begin(), v.end());
    } else if (const Value* m = member(name)) {
      if (!m->is_array()) return fail_with(wrong(name, "a list of strings"));
      v.clear();
      for (const Value& item : m->get_array()) {
        if (!item.is_string()) return fail_with(wrong(name, "a list of strings"));
        v.emplace_back(std::string_view(item.get_string()));
      }
    }
  }
  void field(std::string_view name, std::vector<std::uint32_t>& v) {
    if (!reading()) {
      if (!v.empty()) (*to_)[name] = Array(v.begin(), v.end());
    } else if (const Value* m = member(name)) {
      if (!m->is_array()) return fail_with(wrong(name, "a list of numbers"));
      v.clear();
      for (const Value& item : m->get_array()) {
        boost::system::error_code ec;
        auto number = item.to_number<std::uint32_t>(ec);
        if (ec || item.is_double()) return fail_with(wrong(name, "a list of 32-bit numbers"));
        v.push_back(number);
      }
    }
  }
  void field(std::string_view name, std::map<std::string, std::string>& v) {
    if (!reading()) {
      if (v.empty()) return;
      Object out;
      for (const auto& [key, value] : v) out[key] = value;
      (*to_)[name] = std::move(out);
    } else if (const Value* m = member(name)) {
      if (!m->is_object()) return fail_with(wrong(name, "an object of strings"));
      for (const auto& item : m->get_object()) {
        if (!item.value().is_string()) return fail_with(wrong(name, "an object of strings"));
        v[std::string(item.key())] = std::string_view(item.value().get_string());
      }
    }
  }
  template <typename T>
  void field(std::string_view name, std::optional<T>& v) {
    if (!reading()) {
      if (v) field(name, *v);
    } else if (member(name) != nullptr) {
      v.emplace();
      field(name, *v);
    }
  }
  void field(std::string_view name, char& v) {
    std::string text(1, v);
    field(name, text);
    if (reading() && text.size() == 1) v = text[0];
  }
  // A nested object; visit(Fields&). On reading an absent one is skipped, on writing an empty one is left out.
  template <typename F>
  void object(std::string_view name, F visit) {
    if (!reading()) {
      Object out;
      Fields inner(nullptr, &out);
      visit(inner);
      fail_with(inner.status());
      if (!out.empty()) (*to_)[name] = std::move(out);
    } else if (const Value* m = member(name)) {
      if (!m->is_object()) return fail_with(wrong(name, "an object"));
      Fields inner(&m->get_object(), nullptr);
      visit(inner);
      fail_with(inner.status());
    }
  }
  // An object whose member names are data: visit(Fields&, name, value).
  template <typename F>
  void each(std::string_view name, std::map<std::string, std::string>& v, F visit) {
    if (!reading()) {
      if (v.empty()) return;
      Object out;
      for (auto& [key, value] : v) {
        Object one;
        Fields inner(nullptr, &one);
        visit(inner, key, value);
        out[key] = std::move(one);
      }
      (*to_)[name] = std::move(out);
    } else if (const Value* m = member(name)) {
      if (!m->is_object()) return fail_with(wrong(name, "an object"));
      for (const auto& item : m->get_object()) {
        if (!item.value().is_object()) return fail_with(wrong(name, "an object of objects"));
        Fields inner(&item.value().get_object(), nullptr);
        visit(inner, std::string(item.key()), v[std::string(item.key())]);
        fail_with(inner.status());
      }
    }
  }
  void refuse_others(std::initializer_list<std::string_view> known, std::string_view name) {
    if (!reading()) return;
    for (const auto& item : *from_)
      if (std::find(known.begin(), known.end(), std::string_view(item.key())) == known.end())
        fail_with(fail(Code::kInvalidArgument, cat("config: ", name, ": unknown ", std::string_view(item.key()))));
  }
  template <typename T, typename F>
  void list(std::string_view name, std::vector<T>& v, F visit) {
    if (!reading()) {
      if (v.empty()) return;
      Array out;
      for (T& item : v) {
        Object one;
        Fields inner(nullptr, &one);
        visit(inner, item);
        out.push_back(std::move(one));
      }
      (*to_)[name] = std::move(out);
    } else if (const Value* m = member(name)) {
      if (!m->is_array()) return fail_with(wrong(name, "a list"));
      v.clear();
      for (const Value& item : m->get_array()) {
        if (!item.is_object()) return fail_with(wrong(name, "a list of objects"));
        Fields inner(&item.get_object(), nullptr);
        T out;
        visit(inner, out);
        fail_with(inner.status());
        v.push_back(std::move(out));
      }
    }
  }

 private:
  const Object* from_;
  Object* to_;
  Result<> status_;
};

void visit_id_maps(Fields& f, std::string_view name, std::vector<sys::IdMap>& maps) {
  f.list(name, maps, [](Fields& m, sys::IdMap& v) {
    m.field("containerID", v.inside);
    m.field("hostID", v.outside);
    m.field("size", v.size);
  });
}

void visit_scheduling(Fields& f, ProcessSpec& p) {
  if (f.reading() && f.member("scheduler") != nullptr) p.scheduler.emplace();
  if (p.scheduler) {
    f.object("scheduler", [&](Fields& s) {
      s.field("policy", p.scheduler->policy);
      s.field("nice", p.scheduler->nice);
      s.field("priority", p.scheduler->priority);
      s.field("flags", p.scheduler->flags);
      s.field("runtime", p.scheduler->runtime);
      s.field("deadline", p.scheduler->deadline);
      s.field("period", p.scheduler->period);
    });
  }
  if (f.reading() && f.member("ioPriority") != nullptr) p.io_priority.emplace();
  if (p.io_priority) {
    f.object("ioPriority", [&](Fields& i) {
      i.field("class", p.io_priority->io_class);
      i.field("priority", p.io_priority->priority);
    });
  }
  f.object("execCPUAffinity", [&](Fields& a) {
    a.field("initial", p.exec_cpus_initial);
    a.field("final", p.exec_cpus_final);
  });
}

void visit_process(Fields& f, ProcessSpec& p) {
  f.field("terminal", p.terminal);
  f.object("user", [&](Fields& u) {
    u.field("uid", p.user.uid);
    u.field("gid", p.user.gid);
    u.field("additionalGids", p.user.additional_gids);
    u.field("umask", p.user.umask);
  });
  f.field("x-username", p.username);
  f.field("args", p.args);
  f.field("env", p.env);
  f.field("cwd", p.cwd);
  if (f.reading()) p.capabilities = {};
  f.object("capabilities", [&](Fields& c) {
    c.field("bounding", p.capabilities.bounding);
    c.field("effective", p.capabilities.effective);
    c.field("permitted", p.capabilities.permitted);
    c.field("ambient", p.capabilities.ambient);
    c.field("inheritable", p.capabilities.inheritable);
  });
  f.list("rlimits", p.rlimits, [](Fields& r, Rlimit& v) {
    r.field("type", v.type);
    r.field("soft", v.soft);
    r.field("hard", v.hard);
  });
  f.field("noNewPrivileges", p.no_new_privileges);
  f.field("oomScoreAdj", p.oom_score_adj);
  f.field("apparmorProfile", p.apparmor_profile);
  f.field("selinuxLabel", p.selinux_label);
  visit_scheduling(f, p);
  if (!f.reading() && p.console_rows == 0) return;
  f.object("consoleSize", [&](Fields& c) {
    c.field("height", p.console_rows);
    c.field("width", p.console_columns);
  });
}

void visit_hooks(Fields& f, Hooks& hooks) {
  auto list = [&](std::string_view name, std::vector<Hook>& v) {
    f.list(name, v, [](Fields& h, Hook& hook) {
      h.field("path", hook.path);
      h.field("args", hook.args);
      h.field("env", hook.env);
      h.field("timeout", hook.timeout_s);
    });
  };
  list("prestart", hooks.prestart);
  list("createRuntime", hooks.create_runtime);
  list("createContainer", hooks.create_container);
  list("startContainer", hooks.start_container);
  list("poststart", hooks.poststart);
  list("poststop", hooks.poststop);
}

void visit_seccomp(Fields& f, SeccompProfile& s) {
  f.field("defaultAction", s.default_action);
  f.field("defaultErrnoRet", s.default_errno_ret);
  f.field("architectures", s.architectures);
  f.field("flags", s.flags);
  f.field("listenerPath", s.listener_path);
  f.field("listenerMetadata", s.listener_metadata);
  f.list("syscalls", s.rules, [](Fields& r, SeccompRule& v) {
    r.field("names", v.names);
    r.field("action", v.action);
    r.field("errnoRet", v.errno_ret);
    r.list("args", v.args, [](Fields& a, SeccompArg& arg) {
      a.field("index", arg.index);
      a.field("value", arg.value);
      a.field("valueTwo", arg.value_two);
      a.field("op", arg.op);
    });
  });
}

// -1 means any, like absence.
void device_number(Fields& f, std::string_view name, std::optional<std::uint32_t>& v) {
  std::optional<std::int64_t> number;
  if (v) number = *v;
  f.field(name, number);
  if (!f.reading() || !number || *number == -1) return;
  if (*number < 0 || *number > 0xffffffffLL) return f.fail_with(wrong(name, "a device number"));
  v = static_cast<std::uint32_t>(*number);
}

void visit_resources(Fields& f, Resources& r) {
  f.list("devices", r.devices, [](Fields& d, sys::DeviceRule& v) {
    if (d.reading()) v.access.clear();
    d.field("allow", v.allow);
    d.field("type", v.type);
    device_number(d, "major", v.major);
    device_number(d, "minor", v.minor);
    d.field("access", v.access);
    if (d.reading() && v.access.empty()) v.access = "rwm";
  });
  f.object("memory", [&](Fields& m) {
    m.field("limit", r.limits.memory_bytes_max);
    m.field("swap", r.limits.memory_swap_bytes_max);
  });
  f.object("cpu", [&](Fields& c) {
    c.field("shares", r.limits.cpu_shares);
    c.field("quota", r.limits.cpu_quota_us);
    c.field("period", r.limits.cpu_period_us);
    c.field("cpus", r.limits.cpuset_cpus);
  });
  f.object("pids", [&](Fields& p) { p.field("limit", r.limits.pids_max); });
}

// {"monotonic": {"secs": 1, "nanosecs": 2}}
void visit_time_offsets(Fields& f, std::vector<TimeOffset>& offsets) {
  f.object("timeOffsets", [&](Fields& clocks) {
    for (std::string_view clock : {"monotonic", "boottime"}) {
      auto it = std::find_if(offsets.begin(), offsets.end(), [&](const TimeOffset& o) { return o.clock == clock; });
      TimeOffset offset = it == offsets.end() ? TimeOffset{std::string(clock), 0, 0} : *it;
      if (clocks.reading() ? clocks.member(clock) == nullptr : it == offsets.end()) continue;
      clocks.object(clock, [&](Fields& o) {
        o.field("secs", offset.secs);
        o.field("nanosecs", offset.nanosecs);
      });
      if (clocks.reading()) offsets.push_back(offset);
    }
    clocks.refuse_others({"monotonic", "boottime"}, "timeOffsets");
  });
}

// {"eth1": {"name": "net0"}}
void visit_net_devices(Fields& f, std::map<std::string, std::string>& devices) {
  f.each("netDevices", devices, [](Fields& d, const std::string& outside, std::string& inside) {
    if (inside == outside) inside.clear();
    d.field("name", inside);
    if (inside.empty()) inside = outside;
  });
}

void visit_linux(Fields& f, ContainerConfig& c) {
  f.list("namespaces", c.namespaces, [](Fields& n, Namespace& v) {
    std::string name;
    for (const NamespaceName& row : kNamespaceNames) {
      if (row.type == v.type) name = row.name;
    }
    n.field("type", name);
    n.field("path", v.path);
    if (!n.reading()) return;
    auto row = std::find_if(kNamespaceNames.begin(), kNamespaceNames.end(), [&](const NamespaceName& r) { return r.name == name; });
    if (row == kNamespaceNames.end()) return n.fail_with(fail(Code::kInvalidArgument, cat("config: unknown namespace ", name)));
    v.type = row->type;
  });
  f.field("x-pidNamespaceOf", c.pid_namespace_of);
  f.list("devices", c.devices, [](Fields& d, Device& v) {
    d.field("path", v.path);
    d.field("type", v.type);
    d.field("major", v.major);
    d.field("minor", v.minor);
    d.field("fileMode", v.file_mode);
    d.field("uid", v.uid);
    d.field("gid", v.gid);
  });
  f.field("cgroupsPath", c.cgroup_path);
  f.object("resources", [&](Fields& r) { visit_resources(r, c.resources); });
  if (f.reading()) {
    if (f.member("seccomp") != nullptr) c.seccomp.emplace();
    else c.seccomp.reset();
  }
  if (c.seccomp) f.object("seccomp", [&](Fields& s) { visit_seccomp(s, *c.seccomp); });
  f.field("sysctl", c.sysctl);
  f.field("maskedPaths", c.masked_paths);
  f.field("readonlyPaths", c.readonly_paths);
  f.field("rootfsPropagation", c.rootfs_propagation);
  f.field("mountLabel", c.mount_label);
  visit_id_maps(f, "uidMappings", c.uid_mappings);
  visit_id_maps(f, "gidMappings", c.gid_mappings);
  visit_time_offsets(f, c.time_offsets);
  if (f.reading() && f.member("personality") != nullptr) c.personality.emplace();
  if (c.personality) {
    f.object("personality", [&](Fields& p) {
      p.field("domain", c.personality->domain);
      p.field("flags", c.personality->flags);
    });
  }
  // An empty one is none.
  if (const json::Value* policy = f.reading() ? f.member("memoryPolicy") : nullptr; policy != nullptr && !(policy->is_object() && policy->get_object().empty())) c.memory_policy.emplace();
  if (c.memory_policy) {
    f.object("memoryPolicy", [&](Fields& m) {
      m.field("mode", c.memory_policy->mode);
      m.field("nodes", c.memory_policy->nodes);
      m.field("flags", c.memory_policy->flags);
    });
  }
  visit_net_devices(f, c.net_devices);
}

void visit_config(Fields& f, ContainerConfig& c) {
  f.object("process", [&](Fields& p) { visit_process(p, c.process); });
  f.object("root", [&](Fields& r) {
    r.field("path", c.rootfs);
    r.field("readonly", c.rootfs_readonly);
  });
  f.field("hostname", c.hostname);
  f.field("domainname", c.domainname);
  f.list("mounts", c.mounts, [](Fields& m, Mount& v) {
    m.field("destination", v.destination);
    m.field("type", v.type);
    m.field("source", v.source);
    m.field("options", v.options);
    m.field("x-sourceBelow", v.source_below);
    if (v.source_fd >= 0 || m.reading()) m.field("x-sourceFd", v.source_fd);
    visit_id_maps(m, "uidMappings", v.uid_mappings);
    visit_id_maps(m, "gidMappings", v.gid_mappings);
  });
  f.object("linux", [&](Fields& l) { visit_linux(l, c); });
  f.field("x-init", c.init);
  f.field("x-pause", c.pause);
  f.field("annotations", c.annotations);
  f.object("hooks", [&](Fields& h) { visit_hooks(h, c.hooks); });
}

}  // namespace

Result<ContainerConfig> parse_config(const json::Value& value) {
  if (!value.is_object()) return fail(Code::kInvalidArgument, "config: not an object");
  // An empty member asks for nothing.
  auto asks = [](const json::Value* v) {
    return v != nullptr && !v->is_null() && !(v->is_object() && v->get_object().empty()) && !(v->is_array() && v->get_array().empty());
  };
  if (asks(json::find(value, {"linux", "intelRdt"}))) return fail(Code::kUnimplemented, "config: linux.intelRdt is not supported");
  for (const char* platform : {"windows", "solaris", "vm", "zos", "freebsd"}) {
    if (asks(json::find(value, {platform}))) return fail(Code::kUnimplemented, cat("config: ", platform, " is not supported: this is a runtime for linux"));
  }
  ContainerConfig out;
  Fields fields(&value.get_object(), nullptr);
  visit_config(fields, out);
  TRY(fields.status());
  return out;
}

Result<ProcessSpec> parse_process(const json::Value& value) {
  if (!value.is_object()) return fail(Code::kInvalidArgument, "process: not an object");
  ProcessSpec out;
  Fields fields(&value.get_object(), nullptr);
  visit_process(fields, out);
  TRY(fields.status());
  return out;
}

json::Value format_config(const ContainerConfig& config) {
  ContainerConfig copy = config;
  Object out;
  out["ociVersion"] = kOciVersion;
  Fields fields(nullptr, &out);
  visit_config(fields, copy);
  return out;
}

}  // namespace monopod::container
