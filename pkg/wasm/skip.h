// Code that nothing reaches, for both engines: only its nesting matters.
#pragma once

#include "wasm/module.h"
#include "wasm/reader.h"

namespace monopod::wasm {

// Reads on to the end or else of the block that is dead, which is left to be read. The function has been validated.
void skip_dead_code(Reader& reader, const ModuleData& module);

}  // namespace monopod::wasm
