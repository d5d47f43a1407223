// What a trapped guest leaves behind, for tools that look at it afterwards.
#pragma once

#include <string>
#include <string_view>

#include "wasm/engine.h"

namespace monopod::wasm {

// The instance after a trap of its store, as a module that is never run: sections "core" and "corestack" (the frames of this module, without their values, which
// registers held), its memories, data and globals of number types. Memory is written without the zeros: pages that hold none of anything else are left out.
// Source: WebAssembly/tool-conventions, Coredump.md.
std::string format_coredump(const Store& store, const Instance& instance, std::string_view name);

}  // namespace monopod::wasm
