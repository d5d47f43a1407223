// What the runtime is, and whether it works.
#include "base/strings.h"
#include "cri/messages.h"
#include "cri/service.h"

namespace monopod::cri {

Service::Now Service::version(const json::Value&) {
  return json::Object{{"version", "0.1.0"}, {"runtime_name", kRuntimeName}, {"runtime_version", p_.version}, {"runtime_api_version", "v1"}};
}

Service::Later Service::status(const json::Value& request) {
  Result<> network = co_await p_.network.ready();
  json::Object broken{{"type", "NetworkReady"}, {"status", network.has_value()}};
  if (!network) {
    broken["reason"] = "NetworkPluginNotReady";
    broken["message"] = network.error().message();
  }
  json::Object out{{"status", json::Object{{"conditions", json::Array{json::Object{{"type", "RuntimeReady"}, {"status", true}}, std::move(broken)}}}},
                   {"runtime_handlers", json::Array{json::Object{{"name", ""}, {"features", json::Object{{"recursive_read_only_mounts", true}, {"user_namespaces", p_.pods.user_namespaces().has_value()}}}}}},
                   {"features", json::Object{{"supplemental_groups_policy", true}, {"cgroup_mount_mode", true}}}};
  if (json::get_bool(request, {"verbose"})) {
    json::Object config{{"dataDir", p_.data_dir}, {"podCIDR", network::format_cidr(p_.network.cidr())}, {"cgroup", sys::format_cgroup_mode(p_.parts.cgroups.mode())},
                        {"sandboxes", p_.pods.sandboxes().size()}, {"containers", p_.pods.containers().size()}, {"version", p_.version}};
    if (!p_.pods.user_namespaces()) config["userNamespaces"] = p_.pods.user_namespaces().error().message();
    out["info"] = json::Object{{"config", json::format(config)}};
  }
  co_return out;
}

Service::Now Service::runtime_config(const json::Value&) { return json::Object{{"linux", json::Object{{"cgroup_driver", 1}}}}; }  // cgroupfs

Service::Act Service::update_runtime_config(const json::Value& request) {
  std::string_view text = json::get_string(request, {"runtime_config", "network_config", "pod_cidr"});
  if (text.empty()) return done({});
  // Of two families the first IPv4 one: that is what pods here have.
  for (std::string_view part : split(text, ',')) {
    auto cidr = network::parse_cidr(trim(part));
    if (!cidr) return done(refuse(Code::kInvalidArgument, {"pod_cidr \"", text, "\": ", cidr.error().message()}));
    if (cidr->address.is_v4()) return p_.network.set_cidr(*cidr);
  }
  return done(refuse(Code::kUnimplemented, {"pod_cidr \"", text, "\": pods have IPv4 addresses only"}));
}

Service::Now Service::checkpoint_container(const json::Value&) { return fail(Code::kUnimplemented, "CheckpointContainer: checkpoints are not supported by this runtime"); }

}  // namespace monopod::cri
