#include "scheduler/plugins.h"

namespace monopod::scheduler {

std::vector<std::unique_ptr<Plugin>> make_plugins(const PluginParts& parts) {
  std::vector<std::unique_ptr<Plugin>> list;  // the order is the order of execution
  list.push_back(make_scheduling_gates());
  list.push_back(make_priority_sort());
  list.push_back(make_node_unschedulable());
  list.push_back(make_node_name());
  list.push_back(make_taint_toleration());
  list.push_back(make_node_affinity());
  list.push_back(make_node_ports());
  list.push_back(make_node_resources_fit());
  list.push_back(make_volume_binding(parts));
  list.push_back(make_default_binder(parts.api));
  return list;
}

}  // namespace monopod::scheduler
