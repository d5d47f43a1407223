// Modules: decoding any bytes ends with a module or an error that says where; a module that is accepted can be described, printed and translated whole.
#include "tests/fuzz/fuzz.h"
#include "wasm/engine.h"
#include "wasm/interpreter/code.h"
#include "wasm/text.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Result<std::shared_ptr<const wasm::Module>> module = wasm::Module::load(wasm::Engine({.fuel = size % 2 == 0}), {data, data + size});
  if (!module) {
    fuzz::check(module.error().message().find("at byte 0x") != std::string::npos, "an error names the byte");
    return 0;
  }
  fuzz::check(!wasm::describe(**module).empty(), "a module is described");
  fuzz::check(wasm::disassemble(**module).starts_with("(module"), "a module is printed");
  const wasm::ModuleData& m = (*module)->data();
  for (std::uint32_t i = m.imported_functions; i < m.functions.size(); ++i) {
    const wasm::Insn* code = (*module)->code().code_of(i);
    fuzz::check((*module)->code().find(code) != nullptr, "translated code is found by its address");
  }
  return 0;
}
