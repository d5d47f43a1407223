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
    NamespaceName{NamespaceType::kCgroup, "cgroup"}};

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
    std::vector<std::string> inheritable;
    c.field("inheritable", inheritable);  // read for its type only: the set stays empty
  });
  f.list("rlimits", p.rlimits, [](Fields& r, Rlimit& v) {
    r.field("type", v.type);
    r.field("soft", v.soft);
    r.field("hard", v.hard);
  });
  f.field("noNewPrivileges", p.no_new_privileges);
  f.field("oomScoreAdj", p.oom_score_adj);
}

void visit_seccomp(Fields& f, SeccompProfile& s) {
  f.field("defaultAction", s.default_action);
  f.field("defaultErrnoRet", s.default_errno_ret);
  f.field("architectures", s.architectures);
  f.field("flags", s.flags);
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

void visit_resources(Fields& f, Resources& r) {
  f.list("devices", r.devices, [](Fields& d, sys::DeviceRule& v) {
    if (d.reading()) v.access.clear();
    d.field("allow", v.allow);
    d.field("type", v.type);
    d.field("major", v.major);
    d.field("minor", v.minor);
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
  });
  f.object("linux", [&](Fields& l) { visit_linux(l, c); });
  f.field("x-init", c.init);
  f.field("x-pause", c.pause);
  f.field("annotations", c.annotations);
}

}  // namespace

Result<ContainerConfig> parse_config(const json::Value& value) {
  if (!value.is_object()) return fail(Code::kInvalidArgument, "config: not an object");
  for (auto path : {std::pair("hooks", "hooks"), std::pair("linux.intelRdt", "intelRdt"), std::pair("linux.uidMappings", "uidMappings")}) {
    std::string_view name = path.first;
    const json::Value* found = name.starts_with("linux.") ? json::find(value, {"linux", name.substr(6)}) : json::find(value, {name});
    bool empty = found == nullptr || found->is_null() || (found->is_object() && found->get_object().empty()) || (found->is_array() && found->get_array().empty());
    if (!empty) return fail(Code::kUnimplemented, cat("config: ", path.second, " is not supported"));
  }
  ContainerConfig out;
  Fields fields(&value.get_object(), nullptr);
  visit_config(fields, out);
  TRY(fields.status());
  return out;
}

json::Value format_config(const ContainerConfig& config) {
  ContainerConfig copy = config;
  Object out;
  out["ociVersion"] = "1.2.0";
  Fields fields(nullptr, &out);
  visit_config(fields, copy);
  return out;
}

}  // namespace monopod::container
