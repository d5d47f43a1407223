#include "wasm/ops.h"

namespace monopod::wasm {
constexpr OpTables kOps = make_op_tables();
}  // namespace monopod::wasm
