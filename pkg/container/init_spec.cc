#include "container/init_spec.h"

#include "base/bytes.h"
#include "codec/json.h"

namespace monopod::container {

std::string format_init_spec(const InitSpec& spec) {
  ContainerConfig config = spec.config;
  config.seccomp.reset();  // its program travels instead
  json::Array views;
  for (const auto& [name, path] : spec.cgroup_views) views.push_back(json::Array{name, path});
  json::Object out{{"exec", spec.mode == InitMode::kExec},
                   {"config", format_config(config)},
                   {"seccomp", format_base64(spec.seccomp_program)},
                   {"cgroupViews", std::move(views)},
                   {"procsFds", spec.procs_fds},
                   {"entersViews", spec.enters_views},
                   {"hold", spec.hold},
                   {"columns", spec.columns},
                   {"rows", spec.rows},
                   {"hostHooks", spec.host_hooks},
                   {"acknowledged", spec.acknowledged},
                   {"rootFd", spec.root_fd},
                   {"listenFd", spec.listen_fd},
                   {"preserveFirst", spec.preserve_first},
                   {"preserveCount", spec.preserve_count},
                   {"join", spec.join},
                   {"joined", spec.joined},
                   {"newKeyring", spec.new_keyring},
                   {"pivot", spec.pivot},
                   {"seccompFlags", spec.seccomp_flags},
                   {"seccompNotify", spec.seccomp_notify},
                   {"setgroups", spec.setgroups},
                   {"state", spec.state}};
  return json::format(out);
}

Result<InitSpec> parse_init_spec(std::string_view text) {
  TRY_ASSIGN(json::Value value, json::parse(text));
  InitSpec out;
  const json::Value* config = json::find(value, {"config"});
  if (config == nullptr) return fail(Code::kInvalidArgument, "init spec has no config");
  TRY_ASSIGN(out.config, parse_config(*config));
  out.mode = json::get_bool(value, {"exec"}) ? InitMode::kExec : InitMode::kContainer;
  auto program = parse_base64(json::get_string(value, {"seccomp"}));
  if (!program) return fail(Code::kInvalidArgument, "init spec has a damaged filter");
  out.seccomp_program = std::move(*program);
  if (const json::Array* views = json::get_array(value, {"cgroupViews"})) {
    for (const json::Value& view : *views) {
      if (!view.is_array() || view.get_array().size() != 2) continue;
      out.cgroup_views.emplace_back(view.get_array()[0].as_string().c_str(), view.get_array()[1].as_string().c_str());
    }
  }
  out.procs_fds = static_cast<int>(json::get_int(value, {"procsFds"}));
  out.enters_views = json::get_bool(value, {"entersViews"});
  out.hold = json::get_bool(value, {"hold"});
  out.columns = static_cast<std::uint16_t>(json::get_int(value, {"columns"}, 80));
  out.rows = static_cast<std::uint16_t>(json::get_int(value, {"rows"}, 24));
  out.host_hooks = json::get_bool(value, {"hostHooks"});
  out.acknowledged = json::get_bool(value, {"acknowledged"});
  out.root_fd = static_cast<int>(json::get_int(value, {"rootFd"}, -1));
  out.listen_fd = static_cast<int>(json::get_int(value, {"listenFd"}, -1));
  out.preserve_first = static_cast<int>(json::get_int(value, {"preserveFirst"}, -1));
  out.preserve_count = static_cast<int>(json::get_int(value, {"preserveCount"}));
  out.join = static_cast<std::uint64_t>(json::get_int(value, {"join"}));
  out.joined = static_cast<std::uint64_t>(json::get_int(value, {"joined"}));
  out.new_keyring = json::get_bool(value, {"newKeyring"}, true);
  out.pivot = json::get_bool(value, {"pivot"}, true);
  out.seccomp_flags = static_cast<std::uint32_t>(json::get_int(value, {"seccompFlags"}));
  out.seccomp_notify = json::get_bool(value, {"seccompNotify"});
  out.setgroups = json::get_bool(value, {"setgroups"}, true);
  out.state = json::get_string(value, {"state"});
  return out;
}

}  // namespace monopod::container
