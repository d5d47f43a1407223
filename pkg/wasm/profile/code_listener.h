// Who is told of machine code when it can run: for profilers, which know addresses and no functions.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace monopod::wasm {

struct ModuleData;

struct NativeBlock {
  static constexpr std::uint32_t kStub = ~std::uint32_t{0};
  const ModuleData* module = nullptr;
  std::uint32_t function = kStub;  // kStub: between the engine and the functions
  std::string_view tier;           // who made it: "baseline", "jit", "loop", "cached"
  std::span<const std::uint8_t> code;  // where it runs; stays until the module ends
  struct Place {
    std::uint32_t native = 0, wasm = 0;  // from this byte of the code on it is of this byte of the module
  };
  std::vector<Place> places;  // ascending
  // Of a function: from its stack pointer to its caller's, and to the return address (all ones: that is in the link register).
  std::uint32_t frame_bytes = 0, link_bytes = 0;
};

// Any thread; it may not call the engine.
class CodeListener {
 public:
  virtual ~CodeListener() = default;
  virtual void on_code(const NativeBlock& block) = 0;
};

}  // namespace monopod::wasm
