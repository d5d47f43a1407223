#include "cmd/commands.h"

namespace monopod::cmd {

// The order is the order of `monopod --help`.
std::span<const Command> commands() {
  static constexpr Command kList[] = {
      {"server", add_server}, {"trial", add_trial}, {"image", add_image}, {"registry", add_registry}, {"engine", add_engine},
      {"container", add_container}, {"network", add_network}, {"volume", add_volume}, {"compose", add_compose},
      {"runtime", add_runtime}, {"store", add_store}, {"wasm", add_wasm}, {"proxy", add_proxy},
      {"node", add_node}, {"engine-process", add_engine_process}, {"version", add_version}, {"completion", add_completion},
  };
  return kList;
}

}  // namespace monopod::cmd
