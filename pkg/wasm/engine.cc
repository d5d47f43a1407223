#include "wasm/engine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "wasm/backtrace.h"
#include "wasm/interpreter/code.h"
#if defined(__x86_64__) || defined(__aarch64__)
#include "wasm/jit/jit.h"
#endif
#include "wasm/ops.h"

namespace monopod::wasm {

std::string_view trap_text(Trap trap) {
  switch (trap) {
    case Trap::kNone: return "no trap";
    case Trap::kUnreachable: return "unreachable";
    case Trap::kMemory: return "out of bounds memory access";
    case Trap::kTable: return "out of bounds table access";
    case Trap::kDivideByZero: return "integer divide by zero";
    case Trap::kOverflow: return "integer overflow";
    case Trap::kConversion: return "invalid conversion to integer";
    case Trap::kUninitialized: return "uninitialized element";
    case Trap::kUndefined: return "undefined element";
    case Trap::kSignature: return "indirect call type mismatch";
    case Trap::kNullReference: return "null reference";
    case Trap::kStack: return "call stack exhausted";
    case Trap::kFuel: return "all fuel consumed";
    case Trap::kInterrupted: return "interrupted";
    case Trap::kException: return "uncaught exception";
    case Trap::kHost: return "host function failed";
    case Trap::kLimit: return "too many exceptions alive";
    case Trap::kExit: return "exit";
  }
  return "trap";
}

#if defined(__x86_64__) || defined(__aarch64__)
std::string_view jit_unavailable() { return jit::unavailable(); }
Engine::Engine(EngineOptions options) : options_(options), registry_(std::make_shared<TypeRegistry>()), loaded_(std::make_unique<LoadedModules>()) {
  if (options_.engine == EngineKind::kAuto && !jit::missing_features().empty()) options_.engine = EngineKind::kInterpreter;
  if (options_.engine == EngineKind::kAuto && options_.background) worker_ = jit::make_worker();
}
static std::unique_ptr<Tier> make_tier(const ModuleData& module, CodeCache& code, const EngineOptions& options, std::shared_ptr<Worker> worker) {
  jit::Options out{.fuel = options.fuel, .at_first_call = options.engine != EngineKind::kAuto, .deterministic = options.deterministic, .interruptible = options.interruptible, .optimise = options.engine == EngineKind::kJit};
  out.listener = options.code_listener;
  return jit::make_tier(module, code, std::move(out), std::move(worker));
}
#else
std::string_view jit_unavailable() { return "compiled code is for x86-64 and arm64 only"; }
Engine::Engine(EngineOptions options) : options_(options), registry_(std::make_shared<TypeRegistry>()), loaded_(std::make_unique<LoadedModules>()) {
  if (options_.engine == EngineKind::kAuto) options_.engine = EngineKind::kInterpreter;
}
static std::unique_ptr<Tier> make_tier(const ModuleData&, CodeCache&, const EngineOptions&, const std::shared_ptr<Worker>&) { return nullptr; }
#endif
Engine::~Engine() = default;

static bool compiles_at_first_call(EngineKind kind) { return kind == EngineKind::kJit || kind == EngineKind::kBaseline; }

namespace {

// Code on disk vouches for its module: it was written after the module had been validated, and is authenticated.
class StoredCode : public KnownBodies {
 public:
  StoredCode(const CodeStore& store, const EngineOptions& options) : store_(store), options_(options) {}
  bool were_checked(const ModuleData& module) override {
    key = store_.key_of(module, {.fuel = options_.fuel, .optimised = options_.engine == EngineKind::kJit, .deterministic = options_.deterministic, .interruptible = options_.interruptible});
    if (Result<std::shared_ptr<const MappedCode>> found = store_.find(key); found) code = std::move(*found);
    return code != nullptr;
  }
  CodeKey key{};
  std::shared_ptr<const MappedCode> code;  // null: what is not there, or not to be trusted, is compiled

 private:
  const CodeStore& store_;
  const EngineOptions& options_;
};

}  // namespace

Result<std::shared_ptr<const Module>> Module::load(const Engine& engine, std::vector<std::uint8_t> bytes) {
  const EngineOptions& options = engine.options();
  if (compiles_at_first_call(options.engine) && !jit_unavailable().empty()) return fail(Code::kUnimplemented, cat("wasm engine jit: ", jit_unavailable()));
  if (std::shared_ptr<const Module> known = engine.loaded_->find(bytes); known != nullptr) return known;
  bool may_store = options.code_store != nullptr && options.engine != EngineKind::kInterpreter && bytes.size() >= options.stored_module_bytes_min;
  std::optional<StoredCode> stored;
  if (may_store) stored.emplace(*options.code_store, options);
  std::shared_ptr<Module> out(new Module);
  TRY_ASSIGN(out->data_, decode_module(engine.registry(), std::move(bytes), options.level, stored ? &*stored : nullptr));
  out->code_ = std::make_unique<CodeCache>(*out->data_, CodeOptions{.fuel = options.fuel, .deterministic = options.deterministic, .counted = options.engine == EngineKind::kAuto, .diverted = compiles_at_first_call(options.engine)});
  out->warm_ = options.warm;
  if (options.engine != EngineKind::kInterpreter) out->tier_ = make_tier(*out->data_, *out->code_, options, engine.worker_);
  if (stored && out->tier_ != nullptr) {
    out->store_ = options.code_store;
    out->code_key_ = stored->key;
    if (stored->code != nullptr && out->tier_->adopt(stored->code->snapshot(), stored->code->fd(), MappedCode::offset())) out->mapped_ = std::move(stored->code);
  }
  engine.loaded_->add(out);
  return std::shared_ptr<const Module>(std::move(out));
}
Module::~Module() = default;

// Of a few words all over it: which ones are the same is told by comparing.
static std::uint64_t sample_of(std::span<const std::uint8_t> bytes) {
  std::uint64_t out = bytes.size();
  std::size_t step = std::max<std::size_t>(bytes.size() / 64, 8);
  for (std::size_t at = 0; at + 8 <= bytes.size(); at += step) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, 8);
    out = (out ^ word) * 0x9e37'79b9'7f4a'7c15;
    out ^= out >> 29;
  }
  return out;
}

std::shared_ptr<const Module> LoadedModules::find(std::span<const std::uint8_t> bytes) {
  std::uint64_t sample = sample_of(bytes);
  std::vector<std::shared_ptr<const Module>> candidates;  // their bytes are compared, and the last of them may end, while nobody waits
  {
    std::lock_guard lock(mutex_);
    for (auto [at, end] = modules_.equal_range(sample); at != end; ++at)
      if (std::shared_ptr<const Module> held = at->second.lock()) candidates.push_back(std::move(held));
  }
  for (std::shared_ptr<const Module>& module : candidates)
    if (std::ranges::equal(module->data().bytes, bytes)) return std::move(module);
  return nullptr;
}

void LoadedModules::add(const std::shared_ptr<const Module>& module) {
  std::uint64_t sample = sample_of(module->data().bytes);
  std::lock_guard lock(mutex_);
  modules_.emplace(sample, module);
  if (modules_.size() < sweep_at_) return;
  std::erase_if(modules_, [](const auto& row) { return row.second.expired(); });
  sweep_at_ = std::max<std::size_t>(16, modules_.size() * 2);
}

Result<bool> Module::keep_code() const {
  if (store_ == nullptr) return false;
  std::string snapshot = tier_->snapshot();
  if (snapshot.empty()) return false;
  TRY(store_->put(code_key_, snapshot));
  return true;
}

std::size_t Module::code_bytes() const { return code_->bytes() + (tier_ != nullptr ? tier_->bytes() : 0); }

Result<std::span<std::uint8_t>> Memory::view(std::uint64_t offset, std::uint64_t count) const {
  if (!holds(offset, count)) return fail(Code::kOutOfRange, cat(count, " bytes at ", offset, " of a memory of ", memory_->bytes));
  return std::span(memory_->base + offset, static_cast<std::size_t>(count));
}

void Caller::trap(std::string message) {
  machine_.trap = Trap::kHost;
  machine_.message = std::move(message);
}
void Caller::exit(std::int32_t code) {
  machine_.trap = Trap::kExit;
  machine_.exit_code = code;
}

void Linker::add(std::string module, std::span<const HostFunction> rows, void* self) { rows_.emplace(std::move(module), Rows{rows, self}); }
void Linker::add(std::string module, std::string name, Extern object) { objects_[{std::move(module), std::move(name)}] = object; }
void Linker::add(std::string module, const Instance& instance) {
  for (const Export& e : instance.module().data().exports) objects_[{module, std::string(e.name)}] = instance.object(e);
}

Extern Instance::object(const Export& e) const {
  switch (e.kind) {
    case ExternKind::kFunction: return vm_.function_list[e.index];
    case ExternKind::kTable: return vm_.table_list[e.index];
    case ExternKind::kMemory: return vm_.memory_list[e.index];
    case ExternKind::kGlobal: return vm_.global_objects[e.index];
    case ExternKind::kTag: break;
  }
  return vm_.tag_list[e.index];
}

template <typename T>
static T* find_export(const Instance& instance, std::string_view name) {
  for (const Export& e : instance.module().data().exports) {
    if (e.name != name) continue;
    Extern object = instance.object(e);
    T** found = std::get_if<T*>(&object);
    return found != nullptr ? *found : nullptr;
  }
  return nullptr;
}
FunctionObject* Instance::function(std::string_view name) const { return find_export<FunctionObject>(*this, name); }
MemoryObject* Instance::memory(std::string_view name) const { return find_export<MemoryObject>(*this, name); }
GlobalObject* Instance::global(std::string_view name) const { return find_export<GlobalObject>(*this, name); }

// ---- the store

Store::Store(const StoreOptions& options) : options_(options) {
  machine_.store = this;
  machine_.stack_bytes = options.stack_bytes;
  machine_.fuel = options.fuel;
  // Beyond the limit there is room for one more frame: its entry writes the return address before it asks.
  mapped_ = (options.stack_bytes + (kFrameSlotsMax + 8192) * sizeof(std::uint64_t) + 4095) & ~std::size_t{4095};
  void* at = options.pool != nullptr ? options.pool->take(mapped_).base : nullptr;
  if (at == nullptr) at = ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) mapped_ = 0;
  else machine_.stack = static_cast<std::uint64_t*>(at);
  machine_.sp = machine_.stack;
  machine_.stack_end = machine_.stack + options.stack_bytes / sizeof(std::uint64_t);
  machine_.stack_limit = machine_.stack_end;
}

Store::~Store() {
  if (mapped_ == 0) return;
  // A stack may be dirty where the next guest never reads: it is not wiped, but what is beyond the first pages goes back to the kernel.
  auto* base = reinterpret_cast<std::uint8_t*>(machine_.stack);
  if (options_.pool != nullptr && ::madvise(base + Pool::kResidentBytes, mapped_ - Pool::kResidentBytes, MADV_DONTNEED) == 0 && options_.pool->give({base, mapped_, 0})) return;
  ::munmap(machine_.stack, mapped_);
}

void Store::interrupt() {
  machine_.interrupt.store(1);
  machine_.stack_limit.store(nullptr, std::memory_order_relaxed);
  stop(machine_);
}
void Store::clear_interrupt() {
  machine_.interrupt.store(0);
  go_on(machine_);
  machine_.stack_limit.store(machine_.stack_end, std::memory_order_relaxed);
}

Result<MemoryObject*> Store::make_memory(const SizeLimits& type) {
  TRY_ASSIGN(std::unique_ptr<MemoryObject> made, MemoryObject::make(type, options_.memory_bytes_max / kPageBytes, options_.pool));
  memories_.push_back(std::move(made));
  return memories_.back().get();
}

Result<TableObject*> Store::make_table(const TableType& type) {
  if (type.limits.min > options_.table_elements_max) return fail(Code::kResourceExhausted, cat("wasm table of ", type.limits.min, " elements, the most is ", options_.table_elements_max));
  auto made = std::make_unique<TableObject>();
  made->type = type;
  made->elements_max = type.limits.has_max ? std::min(type.limits.max, options_.table_elements_max) : options_.table_elements_max;
  made->resize(type.limits.min, 0);
  tables_.push_back(std::move(made));
  return tables_.back().get();
}

GlobalObject* Store::make_global(const GlobalType& type, const Value& value) {
  globals_.push_back(std::make_unique<GlobalObject>());
  globals_.back()->type = type;
  std::ranges::copy(value.bits, globals_.back()->value);
  return globals_.back().get();
}

namespace {

constinit const std::atomic<const void*> kNoNative{nullptr};

bool fits(const SizeLimits& have, std::uint64_t size, const SizeLimits& want) {
  if (have.is64 != want.is64 || size < want.min) return false;
  return !want.has_max || (have.has_max && have.max <= want.max);
}

FuncType type_of_signature(std::string_view signature) {
  FuncType out;
  bool result = false;
  for (char c : signature) {
    if (c == ':') result = true;
    else (result ? out.results : out.params).push_back({type_of_letter(c)});
  }
  return out;
}

}  // namespace

Result<Extern> Store::resolve(const ModuleData& module, const Import& import, const Linker& linker) {
  auto name = [&import] { return cat("import \"", import.module, "\" \"", import.name, "\""); };
  auto incompatible = [&name](std::string_view what) { return fail(Code::kFailedPrecondition, cat("wasm link: ", name(), ": incompatible import type: ", what)); };
  for (auto [at, end] = linker.rows_.equal_range(import.module); at != end; ++at) {
    for (const HostFunction& row : at->second.rows) {
      if (import.name != row.name) continue;
      if (import.kind != ExternKind::kFunction) return incompatible("it is a function");
      const FuncType& type = *module.function_types[import.index];
      std::uint32_t number = module.functions[import.index].type;
      FuncType have = type_of_signature(row.signature);
      if (have != type) return incompatible(cat("the host's is ", format_type(have), ", wanted is ", format_type(type)));
      std::unique_ptr<FunctionObject>& object = host_functions_[{&row, at->second.self}];
      if (object == nullptr) object = std::make_unique<FunctionObject>(FunctionObject{.type = number, .host = row.call, .data = at->second.self, .signature = &type, .native = &kNoNative, .name = cat(import.module, ".", import.name)});
      object->signature = &module.registry->type(number);
      return object.get();
    }
  }
  auto found = linker.objects_.find({std::string(import.module), std::string(import.name)});
  if (found == linker.objects_.end()) return fail(Code::kFailedPrecondition, cat("wasm link: ", name(), ": unknown import"));
  if (found->second.index() != static_cast<std::size_t>(import.kind)) return incompatible("another kind of thing");
  switch (import.kind) {
    case ExternKind::kFunction: {
      FunctionObject* f = std::get<FunctionObject*>(found->second);
      if (f->type != module.functions[import.index].type) return incompatible(cat("it is ", format_type(*f->signature), ", wanted is ", format_type(*module.function_types[import.index])));
      break;
    }
    case ExternKind::kTable: {
      TableObject* t = std::get<TableObject*>(found->second);
      const TableType& want = module.tables[import.index].type;
      if (t->type.element != want.element) return incompatible("elements");
      if (!fits(t->type.limits, t->elements.size(), want.limits)) return incompatible("limits");
      break;
    }
    case ExternKind::kMemory: {
      MemoryObject* m = std::get<MemoryObject*>(found->second);
      if (!fits(m->type, m->bytes / kPageBytes, module.memories[import.index])) return incompatible("limits");
      break;
    }
    case ExternKind::kGlobal: {
      GlobalObject* g = std::get<GlobalObject*>(found->second);
      const GlobalType& want = module.globals[import.index].type;
      if (g->type.is_mutable != want.is_mutable) return incompatible("mutability");
      if (want.is_mutable ? g->type.type != want.type : !matches(g->type.type, want.type)) return incompatible(cat(format_type(g->type.type), ", wanted is ", format_type(want.type)));
      break;
    }
    case ExternKind::kTag:
      if (std::get<TagObject*>(found->second)->type != module.tags[import.index]) return incompatible("tag");
      break;
  }
  return found->second;
}

void evaluate(const Vm& vm, Range expression, std::uint64_t out[2]) {
  const ModuleData& m = *vm.module;
  Reader r(m.bytes.data(), m.bytes.data() + expression.from, m.bytes.data() + expression.to);
  std::vector<std::uint64_t> stack;
  stack.reserve(4);
  std::uint64_t high = 0;
  auto binary = [&stack](auto apply) {
    std::uint64_t b = stack.back();
    stack.pop_back();
    stack.back() = apply(stack.back(), b);
  };
  auto narrow = [](std::uint64_t n) { return std::uint64_t{static_cast<std::uint32_t>(n)}; };
  while (!r.done() && !r.failed()) {
    switch (std::uint8_t code = r.byte(); code) {
      case kI32Const: stack.push_back(static_cast<std::uint32_t>(r.s32())); break;
      case kI64Const: stack.push_back(static_cast<std::uint64_t>(r.s64())); break;
      case kF32Const: stack.push_back(r.raw<std::uint32_t>()); break;
      case kF64Const: stack.push_back(r.raw<std::uint64_t>()); break;
      case kGlobalGet: {
        const std::uint64_t* global = vm.global_list[r.u32()];
        stack.push_back(global[0]);
        high = global[1];
        break;
      }
      case kRefNull: read_heap_type(r, m), stack.push_back(0); break;
      case kRefFunc: stack.push_back(reinterpret_cast<std::uint64_t>(vm.function_list[r.u32()])); break;
      case kPrefixByteSimd: r.u32(), stack.push_back(r.raw<std::uint64_t>()), high = r.raw<std::uint64_t>(); break;
      case 0x6a: binary([narrow](auto a, auto b) { return narrow(a + b); }); break;
      case 0x6b: binary([narrow](auto a, auto b) { return narrow(a - b); }); break;
      case 0x6c: binary([narrow](auto a, auto b) { return narrow(a * b); }); break;
      case 0x7c: binary([](auto a, auto b) { return a + b; }); break;
      case 0x7d: binary([](auto a, auto b) { return a - b; }); break;
      case 0x7e: binary([](auto a, auto b) { return a * b; }); break;
      default: break;
    }
  }
  out[0] = stack.empty() ? 0 : stack.back();
  out[1] = high;
}

Result<Instance*> Store::instantiate(std::shared_ptr<const Module> module, const Linker& linker) {
  if (mapped_ == 0) return fail(Code::kResourceExhausted, "wasm store: no memory for its stack");
  if (instances_.size() >= options_.instances_max) return fail(Code::kResourceExhausted, cat("wasm store: more than ", options_.instances_max, " instances"));
  const ModuleData& m = module->data();
  auto made = std::make_unique<Instance>();
  made->module_ = module;
  Vm& vm = made->vm_;
  vm.module = &m;
  vm.code = &module->code();
  vm.entries = vm.code->entries.get();
  vm.machine = &machine_;
  vm.stack_limit = &machine_.stack_limit;
  vm.interrupt = &machine_.interrupt;
  vm.data_dropped.resize(m.data.size());
  vm.elements_dropped.resize(m.elements.size());

  vm.function_list.reserve(m.functions.size());
  for (const Import& import : m.imports) {
    TRY_ASSIGN(Extern object, resolve(m, import, linker));
    switch (import.kind) {
      case ExternKind::kFunction: vm.function_list.push_back(std::get<FunctionObject*>(object)); break;
      case ExternKind::kTable: vm.table_list.push_back(std::get<TableObject*>(object)); break;
      case ExternKind::kMemory: vm.memory_list.push_back(std::get<MemoryObject*>(object)); break;
      case ExternKind::kGlobal: vm.global_objects.push_back(std::get<GlobalObject*>(object)); vm.global_list.push_back(vm.global_objects.back()->value); break;
      case ExternKind::kTag: vm.tag_list.push_back(std::get<TagObject*>(object)); break;
    }
  }
  vm.own_functions.resize(m.functions.size() - m.imported_functions);
  for (std::uint32_t i = m.imported_functions; i < m.functions.size(); ++i) {
    FunctionObject& f = vm.own_functions[i - m.imported_functions];
    f.type = m.functions[i].type;
    f.index = i;
    f.vm = &vm;
    f.signature = m.function_types[i];
    vm.function_list.push_back(&f);
  }
  vm.functions = vm.function_list.data();
  for (std::size_t i = m.imported_memories; i < m.memories.size(); ++i) {
    TRY_ASSIGN(MemoryObject* memory, make_memory(m.memories[i]));
    vm.memory_list.push_back(memory);
  }
  vm.memories = vm.memory_list.empty() ? nullptr : vm.memory_list.data();
  for (std::size_t i = m.imported_tags; i < m.tags.size(); ++i) {
    tags_.push_back(std::make_unique<TagObject>(TagObject{m.tags[i]}));
    vm.tag_list.push_back(tags_.back().get());
  }
  vm.tags = vm.tag_list.data();
  for (std::size_t i = m.imported_globals; i < m.globals.size(); ++i) {
    Value value{m.globals[i].type.type, {}};
    evaluate(vm, m.globals[i].init, value.bits);
    vm.global_objects.push_back(make_global(m.globals[i].type, value));
    vm.global_list.push_back(vm.global_objects.back()->value);
  }
  vm.globals = vm.global_list.data();
  for (std::size_t i = m.imported_tables; i < m.tables.size(); ++i) {
    TRY_ASSIGN(TableObject* table, make_table(m.tables[i].type));
    if (m.tables[i].init) {
      std::uint64_t value[2] = {};
      evaluate(vm, *m.tables[i].init, value);
      std::ranges::fill(table->elements, value[0]);
    }
    vm.table_list.push_back(table);
  }
  vm.tables = vm.table_list.data();
  if (!vm.table_list.empty()) {
    vm.table = vm.table_list[0];
    vm.table_data = vm.table->data;
  }
  if (!vm.memory_list.empty()) {
    vm.memory = vm.memories[0];
    vm.memory_base = vm.memory->base;
  }
  vm.tier = module->tier();
  vm.heat = vm.code->heat.get();
  vm.warm = module->warm();
  if (vm.tier != nullptr) vm.tier->attach(vm);
  for (std::uint32_t i = 0; i < vm.own_functions.size(); ++i) vm.own_functions[i].native = vm.natives != nullptr ? vm.natives + m.imported_functions + i : &kNoNative;
  // From here on others may see it: a failing start leaves its functions in shared tables.
  instances_.push_back(std::move(made));
  vm.next = machine_.vms.load(std::memory_order_relaxed);
  machine_.vms.store(&vm);
  if (machine_.interrupt.load() != 0) stop(machine_);
  TRY(start_up(*instances_.back()));
  return instances_.back().get();
}

Result<> Store::start_up(Instance& instance) {
  Vm& vm = instance.vm_;
  const ModuleData& m = *vm.module;
  for (std::uint32_t i = 0; i < m.elements.size(); ++i) {
    const ElementSegment& s = m.elements[i];
    if (s.mode == SegmentMode::kPassive) continue;
    std::uint64_t at[2] = {};
    if (s.mode == SegmentMode::kActive) {
      evaluate(vm, s.offset, at);
      if (!table_init(vm, i, s.table, at[0], 0, s.size())) return fail(Code::kAborted, cat("wasm start: element segment ", i, ": out of bounds table access"));
    }
    vm.elements_dropped[i] = true;
  }
  for (std::uint32_t i = 0; i < m.data.size(); ++i) {
    const DataSegment& s = m.data[i];
    if (s.mode == SegmentMode::kPassive) continue;
    std::uint64_t at[2] = {};
    evaluate(vm, s.offset, at);
    if (!memory_init(vm, i, s.memory, at[0], 0, s.bytes.to - s.bytes.from)) return fail(Code::kAborted, cat("wasm start: data segment ", i, ": out of bounds memory access"));
    vm.data_dropped[i] = true;
  }
  if (m.start && !call_raw(*vm.function_list[*m.start], {})) return fail(error());
  return {};
}

bool Store::call_raw(const FunctionObject& function, std::span<std::uint64_t> slots) {
  machine_.backtrace.clear();
  machine_.trap_frames.clear();
  machine_.message.clear();
  std::uint64_t* base = machine_.sp;
  std::size_t room = std::max(function.signature->param_slots, function.signature->result_slots);
  if (base + room > machine_.stack_end) {
    machine_.trap = Trap::kStack;
    return false;
  }
  std::copy_n(slots.begin(), function.signature->param_slots, base);
  machine_.sp = base + room;
  bool good = call_function(machine_, function, base);
  machine_.sp = base;
  if (good) std::copy_n(base, function.signature->result_slots, slots.begin());
  return good;
}

Error Store::error() {
  Trap trap = machine_.trap;
  Code code = trap == Trap::kFuel || trap == Trap::kLimit ? Code::kResourceExhausted : trap == Trap::kInterrupted ? Code::kCancelled : trap == Trap::kExit ? Code::kOutOfRange : Code::kAborted;
  if (trap == Trap::kExit) return Error(code, cat("the guest ended itself with status ", machine_.exit_code));
  return Error(code, cat("wasm trap: ", machine_.message.empty() ? trap_text(trap) : machine_.message, format_backtrace(machine_.backtrace)));
}

Result<std::vector<Value>> Store::call(const FunctionObject& function, std::span<const Value> arguments) {
  const FuncType& type = *function.signature;
  if (arguments.size() != type.params.size()) return fail(Code::kInvalidArgument, cat("wasm call: ", arguments.size(), " arguments for ", format_type(type)));
  std::vector<std::uint64_t> slots(std::max(type.param_slots, type.result_slots));
  std::size_t at = 0;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!matches(arguments[i].type, type.params[i])) return fail(Code::kInvalidArgument, cat("wasm call: argument ", i, " is ", format_type(arguments[i].type), ", wanted is ", format_type(type.params[i])));
    slots[at++] = arguments[i].bits[0];
    if (type.params[i] == kV128) slots[at++] = arguments[i].bits[1];
  }
  if (!call_raw(function, slots)) return fail(error());
  std::vector<Value> out;
  at = 0;
  for (ValType t : type.results) {
    Value value{t, {slots[at++], 0}};
    if (t == kV128) value.bits[1] = slots[at++];
    if (t == kF32) value.bits[0] &= 0xffff'ffff;  // the slot's other half is nobody's
    out.push_back(value);
  }
  return out;
}

// ---- exceptions: alive while something on the stack, in a global, a table or another exception may point to them. The stack's slots carry no types: whatever
// looks like an exception there is kept.

namespace {

// Compiled code has them on the host's stack, and in registers.
template <typename F>
[[gnu::noinline, clang::no_sanitize("address")]] void each_word_above(const std::uint64_t* end, F& f) {
  for (const auto* at = static_cast<const std::uint64_t*>(__builtin_frame_address(0)); at < end; ++at) f(*at);
}
template <typename F>
[[gnu::noinline]] void each_native_word(const std::uint64_t* end, F& f) {
  __builtin_unwind_init();  // registers too
  each_word_above(end, f);
  asm volatile("");  // no tail call: this frame holds them
}

}  // namespace

void Store::collect_exceptions() {
  std::vector<std::uint64_t> known;
  for (auto& e : exceptions_) {
    e->marked = false;
    known.push_back(reinterpret_cast<std::uint64_t>(e.get()));
  }
  std::ranges::sort(known);
  std::vector<ExceptionObject*> todo;
  auto mark = [&](std::uint64_t slot) {
    if (!std::ranges::binary_search(known, slot)) return;
    auto* e = reinterpret_cast<ExceptionObject*>(slot);
    if (!e->marked) e->marked = true, todo.push_back(e);
  };
  for (const std::uint64_t* at = machine_.stack; at < machine_.sp; ++at) mark(*at);
  mark(reinterpret_cast<std::uint64_t>(machine_.exception));
  for (const Vm* vm = machine_.vms.load(); vm != nullptr; vm = vm->next) mark(reinterpret_cast<std::uint64_t>(vm->caught));
  if (machine_.native_frame != nullptr) each_native_word(reinterpret_cast<const std::uint64_t*>(machine_.native_base), mark);
  for (auto& g : globals_) mark(g->value[0]);
  for (auto& t : tables_)
    for (std::uint64_t slot : t->elements) mark(slot);
  while (!todo.empty()) {
    ExceptionObject* e = todo.back();
    todo.pop_back();
    for (std::uint64_t slot : e->payload) mark(slot);
  }
  std::erase_if(exceptions_, [](const auto& e) { return !e->marked; });
}

ExceptionObject* make_exception(Machine& machine, const TagObject* tag, const std::uint64_t* payload, std::uint32_t slots) {
  Store& store = *machine.store;
  if (store.exceptions_.size() >= store.options_.exceptions_max) {
    store.collect_exceptions();
    if (store.exceptions_.size() > store.options_.exceptions_max / 2) return nullptr;
  }
  store.exceptions_.push_back(std::make_unique<ExceptionObject>(ExceptionObject{.tag = tag, .payload = {payload, payload + slots}}));
  ExceptionObject* made = store.exceptions_.back().get();
  made->values = made->payload.data();
  return made;
}

}  // namespace monopod::wasm
