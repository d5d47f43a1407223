// The plugins' factories; each is plugins/<name>.cc.
#pragma once

#include "scheduler/framework.h"

namespace monopod::scheduler {

std::unique_ptr<Plugin> make_scheduling_gates();
std::unique_ptr<Plugin> make_priority_sort();
std::unique_ptr<Plugin> make_node_unschedulable();
std::unique_ptr<Plugin> make_node_name();
std::unique_ptr<Plugin> make_taint_toleration();
std::unique_ptr<Plugin> make_node_affinity();
std::unique_ptr<Plugin> make_node_ports();
std::unique_ptr<Plugin> make_node_resources_fit();
std::unique_ptr<Plugin> make_volume_binding(const PluginParts& parts);
std::unique_ptr<Plugin> make_default_binder(client::Api& api);

// Names of what the node lacks for the pod: "Insufficient cpu", "Too many pods".
std::vector<std::string> missing_resources(const PodInfo& pod, const NodeInfo& node);

}  // namespace monopod::scheduler
