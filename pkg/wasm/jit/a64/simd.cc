#include "wasm/jit/compiler.h"
namespace monopod::wasm::jit {
bool FunctionCompiler::vector(u32, const Op&) { return false; }
}
