#include "commands.h"

namespace monopod::cmd {

// The order is the order of `monopod --help`.
const std::vector<AddCommand>& commands() {
  static const std::vector<AddCommand> list = {
      add_server, add_trial, add_image, add_runtime, add_store, add_wasm, add_node, add_version, add_completion,
  };
  return list;
}

}  // namespace monopod::cmd
