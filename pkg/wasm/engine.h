// The WebAssembly engine: load a module once, instantiate it often, call it, take it back.
//
//   Engine engine({});
//   TRY_ASSIGN(auto module, Module::load(engine, bytes));          // decoded, validated; immutable; shared by threads
//   Store store({.fuel = 1'000'000});                              // one guest's world: memories, stack, limits
//   Linker linker;
//   linker.add("env", kRows, &self);                               // host functions: rows of a table
//   TRY_ASSIGN(Instance* instance, store.instantiate(module, linker));
//   TRY_ASSIGN(auto results, store.call(*instance->function("add"), {Value::i32(1), Value::i32(2)}));
//
// Threads: a module may be used by any number of stores at once. A store and all in it belong to one thread at a time; only Store::interrupt() may be called
// from others. Everything that a store made lives until the store ends.
//
// Errors: what the guest does wrong is a trap (kAborted, with the specification's words and a backtrace), fuel used up kResourceExhausted, an interruption
// kCancelled; an exit by the guest is kOutOfRange with Store::exit_code() set (WASI's proc_exit). What the module asks for and is not there: kFailedPrecondition.
#pragma once

#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include "base/error.h"
#include "wasm/code_store.h"
#include "wasm/limits.h"
#include "wasm/pool.h"
#include "wasm/profile/code_listener.h"
#include "wasm/runtime.h"

namespace monopod::wasm {

enum class EngineKind : std::uint8_t {
  kAuto,         // interprets first, compiles in the background, as kBaseline, what is called or loops often; as kInterpreter where there is no compiler
  kInterpreter,
  kBaseline,     // compiles every function when it is first called, in one pass; what cannot be compiled is interpreted. As kJit on arm64. Refused where there is no compiler
  kJit,          // as kBaseline, but with asmjit's register allocator where a body is small and no fuel is counted: takes six times as long; floating point is up to a sixth faster
};

struct EngineOptions {
  Level level = Level::kCurrent;
  bool fuel = false;  // code counts what it executes; needed for StoreOptions::fuel, costs about a tenth
  // One NaN for each type (the specification's deterministic profile): results depend on neither processor nor engine. Costs float operations a comparison.
  bool deterministic = false;
  // Loops of compiled code see Store::interrupt(). False: it waits for the next call, or for fuel; for guests that are known.
  bool interruptible = true;
  EngineKind engine = EngineKind::kAuto;
  // kAuto: compiles on a thread of its own; else where the heat was noticed. And what is warm: so many rounds of a loop, or a tenth of them in calls.
  bool background = true;
  std::uint32_t warm = 2'000;
  // Where compiled code is looked for, and what is smaller is not; null: nowhere. Module::keep_code() adds to it.
  std::shared_ptr<const CodeStore> code_store;
  std::size_t stored_module_bytes_min = 0;
  std::shared_ptr<CodeListener> code_listener;  // told of machine code as it comes to be; null: nobody
};
// Why kJit would be refused on this machine: "compiled code is for x86-64 and arm64 only"; empty where it is not.
std::string_view jit_unavailable();

class Worker;

class Module;

// The modules of an engine that somebody holds: the same bytes are one module, however often they are loaded. Any thread.
class LoadedModules {
 public:
  std::shared_ptr<const Module> find(std::span<const std::uint8_t> bytes);
  void add(const std::shared_ptr<const Module>& module);

 private:
  std::mutex mutex_;
  std::multimap<std::uint64_t, std::weak_ptr<const Module>> modules_;  // by a sample of their bytes
  std::size_t sweep_at_ = 16;
};

class Engine {
 public:
  explicit Engine(EngineOptions options);
  ~Engine();
  const EngineOptions& options() const { return options_; }
  const std::shared_ptr<TypeRegistry>& registry() const { return registry_; }

 private:
  friend class Module;
  EngineOptions options_;
  std::shared_ptr<TypeRegistry> registry_;
  std::unique_ptr<LoadedModules> loaded_;
  std::shared_ptr<Worker> worker_;  // compiles in the background; shared with the modules
};

class Module {
 public:
  // Bytes that the engine has loaded before, of a module that somebody still holds, are compared and nothing else: it is the same module.
  // Errors as decode_module() in module.h; kUnimplemented where kJit is asked for and unavailable.
  static Result<std::shared_ptr<const Module>> load(const Engine& engine, std::vector<std::uint8_t> bytes);
  ~Module();
  const ModuleData& data() const { return *data_; }
  CodeCache& code() const { return *code_; }
  std::size_t code_bytes() const;  // of the register code and machine code made so far
  Tier* tier() const { return tier_.get(); }  // null: interpreted only
  std::uint32_t warm() const { return warm_; }
  bool code_found() const { return mapped_ != nullptr; }  // in the store
  // Writes what is compiled to the engine's store, where that is more than was found there. False: there was nothing to write.
  Result<bool> keep_code() const;

 private:
  Module() = default;
  std::shared_ptr<ModuleData> data_;
  std::unique_ptr<CodeCache> code_;
  std::shared_ptr<const CodeStore> store_;  // null: this module's code is not kept
  CodeKey code_key_{};
  std::shared_ptr<const MappedCode> mapped_;
  std::unique_ptr<Tier> tier_;
  std::uint32_t warm_ = 0;
};

struct Value {
  ValType type;
  std::uint64_t bits[2] = {};
  static Value i32(std::int32_t v) { return {kI32, {static_cast<std::uint32_t>(v), 0}}; }
  static Value i64(std::int64_t v) { return {kI64, {static_cast<std::uint64_t>(v), 0}}; }
  static Value f32(float v) { return {kF32, {std::bit_cast<std::uint32_t>(v), 0}}; }
  static Value f64(double v) { return {kF64, {std::bit_cast<std::uint64_t>(v), 0}}; }
  std::int32_t as_i32() const { return static_cast<std::int32_t>(bits[0]); }
  std::int64_t as_i64() const { return static_cast<std::int64_t>(bits[0]); }
  float as_f32() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits[0])); }
  double as_f64() const { return std::bit_cast<double>(bits[0]); }
};

using Extern = std::variant<FunctionObject*, TableObject*, MemoryObject*, GlobalObject*, TagObject*>;

// Linear memory as checked spans. A span is good until the guest runs again (a memory never moves, but it is the guest's to write).
class Memory {
 public:
  explicit Memory(MemoryObject& memory) : memory_(&memory) {}
  std::uint64_t size() const { return memory_->bytes; }
  std::span<std::uint8_t> bytes() const { return {memory_->base, static_cast<std::size_t>(memory_->bytes)}; }
  // kOutOfRange where any of it is outside.
  Result<std::span<std::uint8_t>> view(std::uint64_t offset, std::uint64_t count) const;
  // Whole pages of a memfd that cannot shrink (F_SEAL_SHRINK) in the place of the guest's. Shared: the host, the guest and every other guest with them see one
  // another's writes; else writes stay the guest's own. Nothing is copied: it pays from some MB on, or where little of much is looked at (a page costs a fault;
  // below, write into bytes()). Until unmap(), the end of the memory, or another map() there; while no guest runs on another thread. kInvalidArgument: not whole
  // pages; kOutOfRange: not within the memory or the file; kFailedPrecondition: the file may shrink.
  Result<> map(std::uint64_t offset, int fd, std::uint64_t from, std::uint64_t count, bool shared) const { return memory_->map(offset, fd, from, count, shared); }
  Result<> unmap(std::uint64_t offset, std::uint64_t count) const { return memory_->unmap(offset, count); }  // zeros again
  bool holds(std::uint64_t offset, std::uint64_t count) const { return offset <= memory_->bytes && count <= memory_->bytes - offset; }
  template <typename T>
  T read(std::uint64_t offset) const {  // holds(offset, sizeof(T)) was asked
    T out;
    std::memcpy(&out, memory_->base + offset, sizeof out);
    return out;
  }
  template <typename T>
  void write(std::uint64_t offset, T value) const {
    std::memcpy(memory_->base + offset, &value, sizeof value);
  }

 private:
  MemoryObject* memory_;
};

// What a host function is given: who calls, and how to end it.
class Caller {
 public:
  Caller(Machine& machine, Vm* vm) : machine_(machine), vm_(vm) {}
  // The first memory of the calling instance; null where it has none, or where the host itself calls.
  MemoryObject* memory() const { return vm_ != nullptr && vm_->memories != nullptr ? vm_->memories[0] : nullptr; }
  Store& store() const { return *machine_.store; }
  // The guest does not go on after the host function returns.
  void trap(std::string message);
  void exit(std::int32_t code);
  bool interrupted() const { return machine_.interrupt.load(std::memory_order_relaxed) != 0; }

 private:
  Machine& machine_;
  Vm* vm_;
};

// A row: name, signature ("ii:l" as in ops.def), and how to call it. Made by host<&function>("name"); the function takes (Self&, Caller&, numbers…) and returns a
// number or nothing.
struct HostFunction {
  const char* name;
  const char* signature;
  HostCall call;
};

namespace detail {
template <typename T>
constexpr char kLetter = std::is_same_v<T, float> ? 'f' : std::is_same_v<T, double> ? 'd' : sizeof(T) == 8 ? 'l' : 'i';
template <typename T>
T from_slot(const std::uint64_t* slot) {
  T out;
  std::memcpy(&out, slot, sizeof out);
  return out;
}
template <typename T>
std::uint64_t to_slot(T value) {
  std::uint64_t out = 0;
  std::memcpy(&out, &value, sizeof value);
  return out;
}
template <auto F>
struct Thunk;
template <typename R, typename Self, typename... Args, R (*F)(Self&, Caller&, Args...)>
struct Thunk<F> {
  static constexpr std::array<char, sizeof...(Args) + 3> kSignature = [] {
    std::array<char, sizeof...(Args) + 3> out{};
    std::size_t n = 0;
    ((out[n++] = kLetter<Args>), ...);
    out[n++] = ':';
    if constexpr (!std::is_void_v<R>) out[n] = kLetter<R>;
    return out;
  }();
  template <std::size_t... I>
  static void apply(Caller& caller, void* data, std::uint64_t* slots, std::index_sequence<I...>) {
    Self& self = *static_cast<Self*>(data);
    if constexpr (std::is_void_v<R>) F(self, caller, from_slot<Args>(slots + I)...);
    else slots[0] = to_slot<R>(F(self, caller, from_slot<Args>(slots + I)...));
  }
  static void call(Caller& caller, void* data, std::uint64_t* slots) { apply(caller, data, slots, std::index_sequence_for<Args...>()); }
};
}  // namespace detail

template <auto F>
constexpr HostFunction host(const char* name) {
  return {name, detail::Thunk<F>::kSignature.data(), detail::Thunk<F>::call};
}

class Instance;

// What imports are looked up in. Rows and objects are borrowed.
class Linker {
 public:
  void add(std::string module, std::span<const HostFunction> rows, void* self);
  void add(std::string module, std::string name, Extern object);
  void add(std::string module, const Instance& instance);  // all its exports

 private:
  friend class Store;
  struct Rows {
    std::span<const HostFunction> rows;
    void* self;
  };
  std::multimap<std::string, Rows, std::less<>> rows_;
  std::map<std::pair<std::string, std::string>, Extern> objects_;
};

class Instance {
 public:
  const Module& module() const { return *module_; }
  // Exports by name; null where there is none of the kind.
  FunctionObject* function(std::string_view name) const;
  MemoryObject* memory(std::string_view name) const;
  GlobalObject* global(std::string_view name) const;
  Extern object(const Export& e) const;
  const Vm& vm() const { return vm_; }

 private:
  friend class Store;
  std::shared_ptr<const Module> module_;
  Vm vm_;
};

struct StoreOptions {
  Pool* pool = nullptr;  // where memories and stacks come from and go to; outlives the store. Null: the kernel
  std::size_t stack_bytes = kStackBytesDefault;
  std::uint64_t memory_bytes_max = std::uint64_t{4} << 30;  // of one memory
  std::uint64_t table_elements_max = kTableElementsMax;     // of one table
  std::uint32_t instances_max = 10'000;
  std::uint32_t exceptions_max = 10'000;                    // alive at once
  std::int64_t fuel = std::int64_t{1} << 62;                // instructions; counted where the engine has fuel
};

class Store {
 public:
  explicit Store(const StoreOptions& options);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Links, allocates, copies segments, runs the start function. On failure what other instances share may have been written to, as the specification has it.
  Result<Instance*> instantiate(std::shared_ptr<const Module> module, const Linker& linker);
  Result<std::vector<Value>> call(const FunctionObject& function, std::span<const Value> arguments);
  Result<std::vector<Value>> call(const FunctionObject& function, std::initializer_list<Value> arguments) { return call(function, std::span(arguments.begin(), arguments.size())); }
  // Without boxes: arguments in slots (8 bytes, a v128 two), results in their place. False: error() tells.
  bool call_raw(const FunctionObject& function, std::span<std::uint64_t> slots);
  Error error();

  // Ends what runs, at the next loop or call, and everything that is called until clear_interrupt(). Any thread.
  void interrupt();
  void clear_interrupt();
  std::int64_t fuel() const { return machine_.fuel; }
  void set_fuel(std::int64_t fuel) { machine_.fuel = fuel; }
  Trap trap() const { return machine_.trap; }
  const std::vector<TrapFrame>& trap_frames() const { return machine_.trap_frames; }  // of the last trap
  std::int32_t exit_code() const { return machine_.exit_code; }

  // Objects of the host's own, to be imported.
  Result<MemoryObject*> make_memory(const SizeLimits& type);
  Result<TableObject*> make_table(const TableType& type);
  GlobalObject* make_global(const GlobalType& type, const Value& value);

 private:
  friend ExceptionObject* make_exception(Machine&, const TagObject*, const std::uint64_t*, std::uint32_t);
  Result<Extern> resolve(const ModuleData& module, const Import& import, const Linker& linker);
  Result<> start_up(Instance& instance);
  void collect_exceptions();

  StoreOptions options_;
  Machine machine_;
  std::size_t mapped_ = 0;
  std::vector<std::unique_ptr<Instance>> instances_;
  std::vector<std::unique_ptr<TableObject>> tables_;
  std::vector<std::unique_ptr<MemoryObject>> memories_;
  std::vector<std::unique_ptr<GlobalObject>> globals_;
  std::vector<std::unique_ptr<TagObject>> tags_;
  std::map<std::pair<const HostFunction*, void*>, std::unique_ptr<FunctionObject>> host_functions_;
  std::vector<std::unique_ptr<ExceptionObject>> exceptions_;
};

}  // namespace monopod::wasm
