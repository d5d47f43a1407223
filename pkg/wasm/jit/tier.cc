#include "wasm/jit/tier.h"

#include <pthread.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "wasm/backtrace.h"
#include "wasm/jit/helpers.h"
#include "wasm/jit/worker.h"
#include "wasm/limits.h"

namespace monopod::wasm::jit {

std::string_view unavailable() {
  static const std::string_view why = []() -> std::string_view {
    if (std::string_view missing = missing_features(); !missing.empty()) return missing;
    return CodeMemory::make() == nullptr ? "the kernel gives no executable memory" : "";
  }();
  return why;
}
std::shared_ptr<Worker> make_worker() { return std::make_shared<Worker>(); }
std::unique_ptr<Tier> make_tier(const ModuleData& module, CodeCache& code, Options options, std::shared_ptr<Worker> worker) {
  return std::make_unique<JitTier>(module, code, options, std::move(worker));
}

// ---- code of one sort

// What stubs take at most, with what aligns them: of a function to two of its type, of a type three.
static constexpr std::size_t kTypeStubBytes = 3 * 512;

static constexpr std::size_t kFunctionAlignment = 16;

// Of one function: each is the whole of it once more. A later call finds its code anyway.
static constexpr std::ptrdiff_t kLoopEntriesMax = 8;

static Enter as_enter(const std::uint8_t* code) { return reinterpret_cast<Enter>(reinterpret_cast<std::uintptr_t>(code)); }

NativeCode::NativeCode(const ModuleData& data, const Options& options, bool for_guarded)
    : module(data),
      fuel(options.fuel),
      guarded(for_guarded),
      deterministic(options.deterministic),
      interruptible(options.interruptible),
      optimise(!target::kBaseline || (options.optimise && !options.fuel)),
      listener(options.listener),
      natives_(std::make_unique<std::atomic<const void*>[]>(data.functions.size())),
      enters_(std::make_unique<std::atomic<Enter>[]>(data.functions.size())),
      states_(std::make_unique<std::atomic<State>[]>(data.functions.size())),
      foreigns_(std::make_unique<std::atomic<const void*>[]>(data.types.size())) {}

// At the first compilation: most modules of a host that interprets first never come to it.
bool NativeCode::begin() {
  std::lock_guard lock(mutex_);
  if (begun_) return memory_ != nullptr;
  begun_ = true;
  if (!make_memory()) return false;
  by_slots_ = as_enter(emit([this](target::Assembler& a) { emit_enter(a, {}, true, fuel); }));
  const std::uint8_t* first_call = emit(emit_first_call);
  for (std::uint32_t i = module.imported_functions; i < module.functions.size(); ++i) natives_[i].store(jump_stub(i, first_call), std::memory_order_relaxed);
  memory_->publish();
  return true;
}

bool NativeCode::make_memory() {
  memory_ = CodeMemory::make({.nameless = listener != nullptr});
  if (memory_ != nullptr && !add_code(memory_->from(), memory_->to(), *this)) memory_.reset();
  if (memory_ == nullptr) return false;
  // Room for the stubs of every type and function: where code has no place it is interpreted, but stubs are always found.
  reserve_ = module.functions.size() * target::kJumpStubBytes + (module.types.size() + 1) * kTypeStubBytes;
  if (memory_->left() < 2 * reserve_) {
    remove_code(memory_->from());
    memory_.reset();
    return false;
  }
  return true;
}

NativeCode::~NativeCode() {
  if (memory_ != nullptr) remove_code(memory_->from());
}

std::size_t NativeCode::bytes() const {
  std::lock_guard lock(mutex_);
  return memory_ != nullptr ? memory_->used() : 0;
}

template <typename F>
const std::uint8_t* NativeCode::emit(F body) {
  asmjit::CodeHolder code;
  code.init(asmjit::Environment::host());
  target::Assembler a(&code);
  body(a);
  CodeMemory::Room room = memory_->take(code.codeSize());
  if (room.run == nullptr || code.flatten() != 0 || code.resolveUnresolvedLinks() != 0 || code.relocateToBase(reinterpret_cast<std::uintptr_t>(room.run)) != 0) return nullptr;
  code.copyFlattenedData(room.write, code.codeSize());
  if (listener != nullptr) listener->on_code({.module = &module, .code = {room.run, code.codeSize()}});
  return room.run;
}

// By hand: there is one for each function.
const std::uint8_t* NativeCode::jump_stub(std::uint32_t function, const void* to) {
  CodeMemory::Room room = memory_->take(target::kJumpStubBytes);
  if (room.run == nullptr || to == nullptr) return nullptr;
  write_jump_stub(room.write, room.run, function, to);
  return room.run;
}

const void* NativeCode::stay_interpreted(std::uint32_t function, const void* expected) {
  std::lock_guard lock(mutex_);
  const void* now = natives_[function].load(std::memory_order_relaxed);
  if (now != expected) return now;  // compiled meanwhile
  const void*& common = interpret_stubs_[module.functions[function].type];
  if (common == nullptr) common = emit([this, function](target::Assembler& a) { emit_interpret(a, *module.function_types[function], fuel); });
  const void* stub = jump_stub(function, common);
  memory_->publish();
  natives_[function].store(stub, std::memory_order_release);
  return stub;
}

bool NativeCode::make_foreign(std::uint32_t type_index) {
  std::lock_guard lock(mutex_);
  if (foreigns_[type_index].load(std::memory_order_relaxed) != nullptr) return true;
  const void*& stub = foreign_stubs_[module.types[type_index]];
  if (stub == nullptr) stub = emit([this, type_index](target::Assembler& a) { emit_foreign(a, *module.type_of[type_index], fuel); });
  memory_->publish();
  foreigns_[type_index].store(stub, std::memory_order_release);
  return stub != nullptr;
}

bool NativeCode::claim(const Job& job) {
  if (job.loop == Job::kEntry) {
    State none = State::kNone;
    return states_[job.function].compare_exchange_strong(none, State::kQueued);
  }
  if (state(job.function) == State::kImpossible) return false;
  std::lock_guard lock(mutex_);
  auto of_function = std::distance(loops_claimed_.lower_bound({job.function, 0}), loops_claimed_.upper_bound({job.function, Job::kEntry}));
  return of_function < kLoopEntriesMax && loops_claimed_.insert(job).second;
}

void NativeCode::compile(const Job& job) {
  if (!begin()) {
    if (job.loop == Job::kEntry) states_[job.function].store(State::kImpossible, std::memory_order_release);
    return;
  }
  CompiledFunction made{.function = job.function};
  std::unique_ptr<Compilation> compilation;
  try {
    compilation = compile_function(*this, job, made);
  } catch (const std::bad_alloc&) {
    compilation = nullptr;  // it stays interpreted
  }
  std::lock_guard lock(mutex_);
  std::size_t bytes = compilation != nullptr ? compilation->code.codeSize() : 0;
  CodeMemory::Room room = bytes != 0 && memory_->left() > bytes + reserve_ ? memory_->take(bytes, made.has_loops ? target::kLoopAlignment : kFunctionAlignment) : CodeMemory::Room{};
  if (room.run == nullptr || compilation->code.relocateToBase(reinterpret_cast<std::uintptr_t>(room.run)) != 0 || compilation->code.copyFlattenedData(room.write, bytes) != 0) {
    if (job.loop == Job::kEntry) states_[job.function].store(State::kImpossible, std::memory_order_release);
    return;
  }
  for (const NearCall& call : made.near_calls) {  // all code of a module is nearer than 2 GiB
    auto distance = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(call.to) - reinterpret_cast<std::uintptr_t>(room.run + call.native + 4));
    std::memcpy(room.write + call.native, &distance, sizeof distance);
  }
  made.near_calls = {};
  made.from = reinterpret_cast<std::uintptr_t>(room.run);
  made.to = made.from + bytes;
  tell(made, job.loop != Job::kEntry ? "loop" : made.optimised ? "jit" : "baseline");
  by_address_.emplace(made.from, std::move(made));
  if (job.loop != Job::kEntry) {
    memory_->publish();
    loops_[job] = room.run;
    return;
  }
  const Function& f = module.functions[job.function];
  Enter& enter = enter_stubs_[f.type];
  if (enter == nullptr) enter = as_enter(emit([this, &job](target::Assembler& a) { emit_enter(a, *module.function_types[job.function], false, fuel); }));
  if (enter == nullptr) return states_[job.function].store(State::kImpossible, std::memory_order_release);
  memory_->publish();
  enters_[job.function].store(enter, std::memory_order_relaxed);
  natives_[job.function].store(room.run, std::memory_order_release);
  states_[job.function].store(State::kReady, std::memory_order_release);
}

const void* NativeCode::final_code(std::uint32_t function) const {
  return state(function) == State::kReady ? natives_[function].load(std::memory_order_acquire) : nullptr;
}

const void* NativeCode::loop_entry(const Job& job) const {
  std::lock_guard lock(mutex_);
  auto at = loops_.find(job);
  return at == loops_.end() ? nullptr : at->second;
}

std::optional<NativeCode::Found> NativeCode::find(std::uintptr_t pc) const {
  std::lock_guard lock(mutex_);
  if (std::optional<Found> adopted = find_adopted(pc); adopted) return adopted;
  auto after = by_address_.upper_bound(pc);
  if (after == by_address_.begin()) return std::nullopt;
  const CompiledFunction& f = std::prev(after)->second;
  return pc < f.to ? std::optional<Found>({f.function, f.from, f.frame_bytes, f.link_bytes, f.saved, f.saved_bytes, f.places}) : std::nullopt;
}

// The call that was to return there does, with the exception.
void NativeCode::land(Machine& machine, const Failure& failure, std::uintptr_t pc, const std::uintptr_t* stack) const {
  failure.saved->pc = pc;
  failure.saved->stack = reinterpret_cast<std::uintptr_t>(stack);
  machine.trap = Trap::kNone;
  failure.vm->caught = std::exchange(machine.exception, nullptr);
  machine.rethrown = true;
  if constexpr (target::kFuelRegister)
    if (fuel) failure.saved->by_number[target::kFuelNumber] = static_cast<std::uintptr_t>(failure.vm->fuel);
}

bool NativeCode::on_trap(Machine& machine, const Failure& failure) {
  Backtrace trace(machine);
  std::uintptr_t pc = failure.pc;
  const std::uintptr_t* stack = failure.stack;
  std::uintptr_t before = 0;
  bool at_call = false;  // then pc is where the call returns to, which may be another place
  if (!find(pc)) {  // a stub whose callee failed: the stack is as its caller's call left it
    pc = target::kLinkRegister ? failure.link : *stack++;
    at_call = true;
  }
  for (bool first = true;; first = false, at_call = true) {
    while (std::uint32_t words = tail_frame_words(pc)) {
      pc = stack[words - 1];
      stack += words;
    }
    std::optional<Found> f = find(at_call ? pc - 1 : pc);
    if (!f) return false;
    auto at = static_cast<std::uint32_t>(pc - f->from);
    auto after = std::ranges::upper_bound(f->places, at_call ? at - 1 : at, {}, &Place::native);
    Place place = after == f->places.begin() ? Place{} : *std::prev(after);
    if (first && !at_call && machine.fault_address == reinterpret_cast<std::uintptr_t>(forbidden_address())) place.trap = Trap::kInterrupted;
    if (first && place.trap == Trap::kStack && machine.interrupt.load() != 0) place.trap = Trap::kInterrupted;
    if (first && place.trap != Trap::kNone) {
      forget_caught(machine);
      machine.trap = place.trap;
      if (target::kFuelRegister && fuel) failure.vm->fuel = failure.fuel;  // a helper that failed has left it in memory
    }
    if (first && machine.trap == Trap::kNone) std::abort();  // an access that the compiler did not mean to fail: going on would hide it
    bool thrown = machine.trap == Trap::kException;
    if (first && !thrown) forget_caught(machine);
    if (machine.trap == Trap::kExit || (trace.full() && !thrown)) return false;
    if (first && thrown && machine.rethrown) machine.rethrown = false;  // by the frame that the backtrace ends with
    else if (pc == before) trace.again();
    else trace.add(module, f->function, place.wasm);
    before = pc;
    if (thrown && at_call && place.catches) {
      land(machine, failure, pc, stack);
      return true;
    }
    for (std::uint32_t left = f->saved & ~CompiledFunction::kSavedDownwards, at_byte = f->saved_bytes; left != 0; left &= left - 1) {
      failure.saved->by_number[std::countr_zero(left)] = stack[at_byte / sizeof *stack];
      if ((f->saved & CompiledFunction::kSavedDownwards) != 0) at_byte -= sizeof *stack;
      else at_byte += sizeof *stack;
    }
    pc = f->link_bytes == CompiledFunction::kLinkKept ? failure.link : stack[f->link_bytes / sizeof *stack];
    stack += f->frame_bytes / sizeof *stack;
  }
}

// ---- the tier

JitTier::JitTier(const ModuleData& module, CodeCache& code, Options options, std::shared_ptr<Worker> worker) : module_(module), cache_(code), options_(options), worker_(std::move(worker)) {}
JitTier::~JitTier() {
  if (worker_ != nullptr) worker_->forget(*this);
}

std::size_t JitTier::bytes() const {
  std::size_t out = 0;
  for (const auto& code : codes_) out += code != nullptr ? code->bytes() : 0;
  return out;
}

NativeCode& JitTier::code_of(const Vm& vm) { return *codes_[vm.memory == nullptr || vm.memory->guarded]; }

NativeCode& JitTier::make_code(bool guarded) {
  std::lock_guard lock(mutex_);
  std::unique_ptr<NativeCode>& code = codes_[guarded];
  if (code == nullptr) code = std::make_unique<NativeCode>(module_, options_, guarded);
  return *code;
}

void JitTier::attach(Vm& vm) {
  NativeCode& code = make_code(vm.memory == nullptr || vm.memory->guarded);
  vm.natives = code.natives();
  vm.foreigns = code.foreigns();
  vm.helpers = helper_table();
}

std::string JitTier::snapshot() const { return codes_[true] != nullptr ? codes_[true]->snapshot() : std::string(); }

bool JitTier::adopt(std::span<const std::uint8_t> snapshot, int fd, std::uint64_t offset) {
  NativeCode& code = make_code(true);
  if (!code.adopt(snapshot, fd, offset)) return false;
  for (std::uint32_t i = module_.imported_functions; i < module_.functions.size(); ++i) {
    NativeCode::State state = code.state(i);
    if (state == NativeCode::State::kReady) compiled_.fetch_add(1, std::memory_order_relaxed);
    if (state != NativeCode::State::kNone) divert(cache_, i, state == NativeCode::State::kReady);
  }
  return true;
}

std::size_t JitTier::compile_all() {
  NativeCode& code = make_code(true);
  std::size_t bytes = 0;
  for (std::uint32_t i = module_.imported_functions; i < module_.functions.size(); ++i) {
    if (!code.claim({.function = i})) continue;
    work(code, {.function = i});
    if (code.state(i) == NativeCode::State::kReady) bytes += module_.functions[i].body.to - module_.functions[i].body.from;
  }
  return bytes;
}

void JitTier::request(Vm& vm, const Job& job) {
  NativeCode& code = code_of(vm);
  if (!code.claim(job)) return;
  if (worker_ != nullptr) worker_->add(*this, code, job);
  else work(code, job);
}

void JitTier::work(NativeCode& code, const Job& job) {
  code.compile(job);
  if (job.loop != Job::kEntry) return;
  bool ready = code.state(job.function) == NativeCode::State::kReady;
  if (ready) compiled_.fetch_add(1, std::memory_order_relaxed);
  divert(cache_, job.function, ready);
}

void JitTier::warm(Vm& vm, std::uint32_t function) { request(vm, {.function = function}); }

// A call that found no code: compiled code's own, or the interpreter's and the host's through call().
const void* JitTier::prepare(Vm& vm, std::uint32_t function) {
  NativeCode& code = code_of(vm);
  if (options_.at_first_call) request(vm, {.function = function});
  const void* now = code.natives()[function].load(std::memory_order_acquire);
  if (code.state(function) == NativeCode::State::kReady) return now;
  return code.stay_interpreted(function, now);
}

namespace {

// Where this thread's stack ends.
std::uintptr_t stack_end() {
  static thread_local std::uintptr_t end = [] {
    pthread_attr_t attributes;
    void* from = nullptr;
    std::size_t bytes = 0;
    if (::pthread_getattr_np(::pthread_self(), &attributes) != 0) return std::uintptr_t{0};
    ::pthread_attr_getstack(&attributes, &from, &bytes);
    ::pthread_attr_destroy(&attributes);
    return reinterpret_cast<std::uintptr_t>(from);
  }();
  return end;
}

}  // namespace

// Machine code has no type before it that a sanitizer could compare.
[[clang::no_sanitize("function")]] Tier::Outcome JitTier::run(Vm& vm, Enter enter, const void* code, std::uint64_t* slots) {
  Machine& m = *vm.machine;
  bool outermost = m.native_frame == nullptr;
  auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  if (outermost) {
    m.native_base = here;
    std::uintptr_t lowest = stack_end() + kHostStackReserveBytes;
    m.native_floor = std::max(lowest, here > m.stack_bytes ? here - m.stack_bytes : 0);
  }
  if (vm.native_limit.load(std::memory_order_relaxed) != m.native_floor) vm.native_limit.store(m.native_floor);
  if (m.interrupt.load() != 0 || here <= m.native_floor) {
    vm.native_limit.store(~std::uintptr_t{0});
    m.trap = m.interrupt.load() != 0 ? Trap::kInterrupted : Trap::kStack;
    return Outcome::kFailed;
  }
  Running running(m);
  vm.fuel = m.fuel;
  bool good = enter(&vm, slots, code, &m.native_frame);
  m.fuel = vm.fuel;
  return good ? Outcome::kDone : m.tail != nullptr ? Outcome::kTail : Outcome::kFailed;
}

Tier::Outcome JitTier::call(Vm& vm, std::uint32_t function, std::uint64_t* slots) {
  NativeCode& code = code_of(vm);
  if (code.state(function) != NativeCode::State::kReady) {
    if (!options_.at_first_call) return Outcome::kNotReady;
    request(vm, {.function = function});
    if (code.state(function) != NativeCode::State::kReady) return Outcome::kNotReady;
  }
  return run(vm, code.enter_of(function), code.natives()[function].load(std::memory_order_acquire), slots);
}

Tier::Outcome JitTier::enter_loop(Vm& vm, std::uint32_t function, std::uint32_t loop, std::uint64_t* frame) {
  Job job{.function = function, .loop = loop};
  request(vm, job);
  request(vm, {.function = function});
  NativeCode& code = code_of(vm);
  const void* entry = code.loop_entry(job);
  if (entry == nullptr) return Outcome::kNotReady;
  return run(vm, code.enter_by_slots(), entry, frame);
}

}  // namespace monopod::wasm::jit
