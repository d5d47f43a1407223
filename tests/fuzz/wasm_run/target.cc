// Running: whatever a valid module does, it ends by its fuel, and the same way on both engines. Its imports are WASI without grants and functions that do nothing.
// Where a stack ends differs, and which NaN an operation gives: a run that met the first, or numbers that may hold the second, are not compared.
#include "tests/fuzz/fuzz.h"
#include "wasm/engine.h"
#include "wasm/wasi/wasi.h"

using namespace monopod;

namespace {

struct Outcome {
  std::vector<int> traps;
  std::int64_t fuel = 0;
  std::size_t memory_hash = 0;
  bool out_of_stack = false;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

bool has_floats(const wasm::ModuleData& module) {
  auto is_float = [](wasm::ValType t) { return t == wasm::kF32 || t == wasm::kF64 || t == wasm::kV128; };
  for (std::uint32_t i = module.imported_functions; i < module.functions.size(); ++i) {
    std::string_view body = module.text(module.functions[i].body);
    // Instructions that give floats, and the prefix of vectors; a byte that only looks like one costs no more than a comparison.
    for (char c : body)
      if (auto code = static_cast<std::uint8_t>(c); (code >= 0x8b && code <= 0xa6) || (code >= 0xb2 && code <= 0xbb) || code == 0xfd) return true;
    for (wasm::ValType t : module.function_types[i]->params)
      if (is_float(t)) return true;
  }
  return false;
}

Outcome run(const std::shared_ptr<const wasm::Module>& module) {
  Outcome out;
  wasm::Store store({.stack_bytes = 256 << 10, .memory_bytes_max = 16 << 20, .table_elements_max = 10'000, .exceptions_max = 100, .fuel = 200'000});
  wasm::Wasi wasi({.arguments = {"fuzz"}, .inherit_stdio = false});
  wasm::Linker linker;
  wasi.link(linker);
  Result<wasm::Instance*> instance = store.instantiate(module, linker);
  if (instance) {
    int calls = 0;
    for (const wasm::Export& e : module->data().exports) {
      if (e.kind != wasm::ExternKind::kFunction || ++calls > 20) continue;
      const wasm::FunctionObject* f = (*instance)->function(e.name);
      std::vector<std::uint64_t> slots(std::max(f->signature->param_slots, f->signature->result_slots) + 1, 0);
      bool numbers = true;  // zeros are null references, which some types do not admit
      for (wasm::ValType t : f->signature->params) numbers = numbers && t.defaultable();
      if (!numbers) continue;
      out.traps.push_back(store.call_raw(*f, slots) ? 0 : static_cast<int>(store.trap()));
      out.out_of_stack = out.out_of_stack || store.trap() == wasm::Trap::kStack;
    }
    if (!module->data().memories.empty())
      for (const wasm::Export& e : module->data().exports)
        if (e.kind == wasm::ExternKind::kMemory) {
          wasm::Memory memory(*(*instance)->memory(e.name));
          out.memory_hash ^= std::hash<std::string_view>()({reinterpret_cast<const char*>(memory.bytes().data()), memory.bytes().size()});
        }
  }
  out.fuel = store.fuel();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Result<std::shared_ptr<const wasm::Module>> module = wasm::Module::load(wasm::Engine({.fuel = true, .engine = wasm::EngineKind::kInterpreter}), {data, data + size});
  if (!module) return 0;
  bool pure = (*module)->data().imports.empty();
  Outcome first = run(*module), second = run(*module);
  if (pure) fuzz::check(first == second, "a module without imports does the same twice");
  if (!wasm::jit_unavailable().empty()) return 0;
  for (wasm::EngineKind kind : {wasm::EngineKind::kBaseline, wasm::EngineKind::kJit, wasm::EngineKind::kAuto}) {
    Result<std::shared_ptr<const wasm::Module>> compiled = wasm::Module::load(wasm::Engine({.fuel = true, .engine = kind, .background = false, .warm = 1}), {data, data + size});
    fuzz::check(compiled.has_value(), "a module loads on every engine");
    Outcome other = run(*compiled);
    if (pure && !first.out_of_stack && !other.out_of_stack && !has_floats((*module)->data())) fuzz::check(first == other, "a module without imports does the same on every engine");
  }
  return 0;
}
