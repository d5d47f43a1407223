// A function's machine code and what is known about it.
#pragma once

#include <cstdint>
#include <vector>

#include "wasm/runtime.h"

namespace monopod::wasm::jit {

// From here on, up to the next place, machine code is of this byte of the module; a signal there means this.
struct Place {
  std::uint32_t native = 0;
  std::uint32_t wasm = 0;
  Trap trap = Trap::kNone;  // kNone: a helper failed, which has said why
  std::uint8_t catches = 0; // a call in a try block, which asks for vm->caught where it returns
};

// Four bytes of machine code that are the distance from behind them to code that stands.
struct NearCall {
  std::uint32_t native = 0;
  const void* to = nullptr;
};

struct CompiledFunction {
  std::uint32_t function = 0;
  std::uintptr_t from = 0, to = 0;
  bool optimised = false, has_loops = false;
  std::uint32_t frame_bytes = 0;  // from its stack pointer to its caller's
  static constexpr std::uint32_t kLinkKept = ~0u;
  std::uint32_t link_bytes = 0;   // from the stack pointer to the return address; kLinkKept: it is in the register that calls put it in
  // Of registers that callees preserve, those that it saved, as bits; where the one of the least number is, from the stack pointer; others follow upwards, or downwards.
  static constexpr std::uint32_t kSavedDownwards = 1u << 31;
  std::uint32_t saved = 0, saved_bytes = 0;
  std::vector<Place> places;      // ascending
  std::vector<NearCall> near_calls;  // until it has its place
};

}  // namespace monopod::wasm::jit
