// Running: whatever a valid module does, it ends by its fuel, and twice the same way. Its imports are WASI without grants and functions that do nothing.
#include "tests/fuzz/fuzz.h"
#include "wasm/engine.h"
#include "wasm/wasi/wasi.h"

using namespace monopod;

namespace {

struct Outcome {
  std::vector<int> traps;
  std::int64_t fuel = 0;
  std::size_t memory_hash = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

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
  Result<std::shared_ptr<const wasm::Module>> module = wasm::Module::load(wasm::Engine({.fuel = true}), {data, data + size});
  if (!module) return 0;
  bool pure = (*module)->data().imports.empty();
  Outcome first = run(*module), second = run(*module);
  if (pure) fuzz::check(first == second, "a module without imports does the same twice");
  return 0;
}
