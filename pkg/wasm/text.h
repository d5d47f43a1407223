// Modules for people: what is in one, and its code as text.
#pragma once

#include <optional>
#include <string>

#include "wasm/engine.h"

namespace monopod::wasm {

// Imports, exports, memories, sizes of sections: a line each.
std::string describe(const Module& module);
// The whole module in the text format's flat form (one instruction a line, indices for names). function: that one alone.
std::string disassemble(const Module& module, std::optional<std::uint32_t> function = std::nullopt);

}  // namespace monopod::wasm
