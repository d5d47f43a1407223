// What both engines read alike once a function is validated: the types of blocks, and code that nothing reaches, of which only the nesting matters.
#pragma once

#include "wasm/module.h"
#include "wasm/reader.h"

namespace monopod::wasm {

// Nothing is put where the block has none.
void read_block_type(Reader& reader, const ModuleData& module, std::vector<ValType>& params, std::vector<ValType>& results);

// Over what follows an instruction's byte; a block's type is apart.
void skip_immediates(Reader& reader, const ModuleData& module, std::uint8_t code);
void skip_block_type(Reader& reader, const ModuleData& module);

// Reads on to the end or else of the block that is dead, which is left to be read. The function has been validated.
void skip_dead_code(Reader& reader, const ModuleData& module);

}  // namespace monopod::wasm
