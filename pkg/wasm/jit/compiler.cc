#include "wasm/jit/compiler.h"

#include <algorithm>
#include <csetjmp>
#include <cstdlib>

#include "wasm/function_body.h"
#include "wasm/jit/helpers.h"
#include "wasm/jit/stubs.h"
#include "wasm/limits.h"

namespace monopod::wasm::jit {
namespace {
// Debian builds asmjit with its assertions, which end the process. What is asserted about one function is no reason to: it stays interpreted.
constinit thread_local std::jmp_buf* on_assertion = nullptr;
}  // namespace

// The linker puts it in the place of asmjit's own (cmake/MonopodDependencies.cmake).
extern "C" [[noreturn]] void __wrap__ZN6asmjit8_abi_1_910DebugUtils15assertionFailedEPKciS3_(const char* file, int line, const char* what) {
  if (on_assertion != nullptr) std::longjmp(*on_assertion, 1);
  std::fprintf(stderr, "%s:%d: %s\n", file, line, what);
  std::abort();
}

using namespace asmjit;

namespace {

constexpr std::uint32_t kFrameBytesMax = 64 << 10;  // a quarter of what is kept for the host: entries ask before they push

// Errors in the middle of a function are told once, at its end.
class Errors : public ErrorHandler {
 public:
  void handleError(asmjit::Error, const char*, BaseEmitter*) override { any = true; }
  bool any = false;
};

// Comments carry places through the register allocator.
class PlacingAssembler : public target::Assembler {
 public:
  PlacingAssembler(CodeHolder& code, std::vector<Place>& places) : Assembler(&code), places_(places) {}
  asmjit::Error comment(const char* data, std::size_t) override {  // all comments are places; their size is not passed on
    Place place;
    std::memcpy(&place, data, sizeof place);
    place.native = static_cast<std::uint32_t>(offset());
    if (!places_.empty() && places_.back().native == place.native) places_.back() = place;
    else places_.push_back(place);
    return kErrorOk;
  }

 private:
  std::vector<Place>& places_;
};

}  // namespace

struct Attempt : Compilation {
  Attempt(NativeCode& native, const Job& job) {
    code.init(Environment::host());
    code.setErrorHandler(&errors);
    compiler.emplace(native, job, code);
  }
  Errors errors;
  std::optional<FunctionCompiler> compiler;
};

std::unique_ptr<Compilation> compile_function(NativeCode& native, const Job& job, CompiledFunction& out) {
  const Function& f = native.module.functions[job.function];
  if (f.body.to - f.body.from > kCompiledBodyBytesMax) return nullptr;
  auto attempt = std::make_unique<Attempt>(native, job);
  std::jmp_buf here;
  if (setjmp(here) != 0) {
    on_assertion = nullptr;
    (void)attempt.release();  // in no state to be destroyed
    return nullptr;
  }
  on_assertion = &here;
  bool good = attempt->compiler->run(out) && !attempt->errors.any;
  on_assertion = nullptr;
  if (!good) return nullptr;
  return attempt;
}

FunctionCompiler::FunctionCompiler(NativeCode& native, const Job& job, CodeHolder& code)
    : native_(native),
      module_(native.module),
      job_(job),
      type_(*native.module.function_types[job.function]),
      by_slots_(job.loop != Job::kEntry || !in_registers(type_)),
      code_(code),
      cc_(&code),
      reader_(module_.bytes.data(), module_.bytes.data() + module_.functions[job.function].body.from, module_.bytes.data() + module_.functions[job.function].body.to) {}

// ---- registers and operands

FunctionCompiler::Value FunctionCompiler::pop() {
  Value v = stack_.back();
  stack_.pop_back();
  return v;
}

BaseReg FunctionCompiler::in_register(const Value& v) {
  if (v.kind == Value::Kind::kRegister) return v.reg;
  if (v.kind == Value::Kind::kLocal) return locals_[v.local];
  BaseReg d = make_register(v.type);
  move(d, v);
  return d;
}

BaseReg FunctionCompiler::argument(const Value& v) {
  if (v.kind == Value::Kind::kRegister) return v.reg;
  BaseReg d = make_register(v.type);
  move(d, v);
  return d;
}

BaseReg FunctionCompiler::result_register(ValType type) {
  Reader ahead = reader_;
  std::uint8_t code = ahead.byte();
  if (code != kLocalSet && code != kLocalTee) return make_register(type);
  u32 local = ahead.u32();
  settle_local(local);
  return locals_[local];
}

target::Gp FunctionCompiler::result_over(const Value& operand) {
  std::uint8_t next = reader_.peek();
  if (operand.kind == Value::Kind::kRegister && next != kLocalSet && next != kLocalTee) return operand.reg.as<Gp>();
  return result_gp(operand.type);
}

void FunctionCompiler::settle_local(u32 local) {
  if (address_local_ == local) address_local_ = kNoLocal;
  for (Value& v : stack_) {
    if (v.local != local) continue;
    BaseReg d = make_register(v.type);
    move(d, v);
    v = {.type = v.type, .reg = d};
  }
}

void FunctionCompiler::settle_all() {
  for (Value& v : stack_) {
    if (v.kind != Value::Kind::kLocal && v.kind != Value::Kind::kScaled) continue;
    BaseReg d = make_register(v.type);
    move(d, v);
    v = {.type = v.type, .reg = d};
  }
}

void FunctionCompiler::set_local(u32 local, const Value& v) {
  settle_local(local);
  if (v.kind == Value::Kind::kRegister && v.reg.id() == locals_[local].id()) return;  // made there
  move(locals_[local], v);
}

// ---- registers that callees preserve. asmjit gives an argument the register that it comes in, and knows no other way to be told. So there are arguments that
// nobody passes, in those registers; a move to itself, which is never emitted, makes one alive at the function's entry, where its real value replaces it.

void FunctionCompiler::add_wishes(FuncSignatureBuilder& signature) {
  first_wish_ = signature.argCount();
  wishes_ = std::min<u32>(std::size(target::kPreserved), Globals::kMaxFuncArgs - first_wish_);
  for (u32 i = 0; i < wishes_; ++i) signature.addArg(TypeId::kUInt64);
}

void FunctionCompiler::place_wishes() {
  for (u32 i = 0; i < wishes_; ++i) function_->detail().arg(first_wish_ + i).initReg(target::kGpType, target::kPreserved[i].id(), TypeId::kUInt64);
}

// In a function that calls nothing parameters stay where they came.
void FunctionCompiler::drop_copies() {
  for (const Copy& c : copies_) {
    cc_.removeNode(c.node);
    function_->setArg(c.argument, c.kept);
  }
}

void FunctionCompiler::grant_wishes() {
  if (!calls_) {
    // The others get what needs not be saved.
    u32 used = 0;
    drop_copies();
    for (u32 i = 0; i < first_wish_; ++i)
      if (const FuncValue& v = function_->detail().arg(i); v.isReg() && v.regType() == target::kGpType) used |= 1u << v.regId();
    u32 free = 0;
    for (const Gp& r : target::kFree)
      if ((used >> r.id() & 1) == 0 && free < wishes_) function_->detail().arg(first_wish_ + free++).initReg(target::kGpType, r.id(), TypeId::kUInt64);
    wishes_ = free;
  }
  std::vector<std::pair<u64, Gp>> wanted;
  if (memory_used_) wanted.emplace_back(memory_weight_, memory_);
  if (native_.fuel && !calls_) wanted.emplace_back(fuel_weight_, fuel_);
  for (std::size_t i = 0; i < locals_.size(); ++i)
    if (local_weights_[i] != 0 && is_integer(local_types_[i]) && (calls_ || by_slots_ || i >= type_.params.size())) wanted.emplace_back(local_weights_[i], locals_[i].as<Gp>());
  std::ranges::stable_sort(wanted, std::greater<>(), &std::pair<u64, Gp>::first);
  BaseNode* last = cc_.setCursor(function_);
  for (u32 i = 0; i < wishes_ && i < wanted.size(); ++i) {
    function_->setArg(first_wish_ + i, wanted[i].second);
    cc_.mov(wanted[i].second, wanted[i].second);
  }
  cc_.setCursor(last);
}

// ---- traps

void FunctionCompiler::place(Trap trap) {
  Place p{.wasm = wasm_, .trap = trap};
  cc_.comment(reinterpret_cast<const char*>(&p), sizeof p);
}

Label FunctionCompiler::trap_label(Trap trap) {
  if (!traps_.empty() && traps_.back().wasm == wasm_ && traps_.back().trap == trap) return traps_.back().label;
  traps_.push_back({cc_.newLabel(), wasm_, trap});
  return traps_.back().label;
}

// ---- the whole

bool FunctionCompiler::start() {
  local_types_.assign(type_.params.begin(), type_.params.end());
  for (u32 groups = reader_.u32(); groups-- > 0;) {
    u32 count = reader_.u32();
    if (count > kCompiledLocalsMax - std::min<std::size_t>(kCompiledLocalsMax, local_types_.size())) return false;
    local_types_.resize(local_types_.size() + count, read_value_type(reader_, module_));
  }
  for (ValType t : local_types_) {
    if (!supported(t)) return false;
    operand_slot_ += slots_of(t);
  }
  for (ValType t : type_.results)
    if (!supported(t)) return false;
  ++operand_slot_;  // the return address

  FuncSignatureBuilder signature(target::kCallConv);
  if (by_slots_) {
    signature.addArg(TypeId::kUInt64);
    signature.addArg(TypeId::kUInt64);
  } else {
    describe(type_, signature);
  }
  add_wishes(signature);
  function_ = cc_.addFunc(signature);
  place_vm(function_->detail());
  place_wishes();
  prepare_frame();
  // Arguments keep the register they come in, and would be saved around every call: what lives longer has one of its own.
  auto argument = [this](std::size_t index, ValType type) {
    Value given{.type = type, .reg = make_register(type)};
    function_->setArg(index, given.reg);
    BaseReg kept = make_register(type);
    move(kept, given);
    copies_.push_back({index, kept, cc_.cursor()});
    return kept;
  };
  vm_ = make_int();
  function_->setArg(0, vm_);
  if (by_slots_) slots_ = argument(1, kI64).as<Gp>();
  for (std::size_t i = 0; i < local_types_.size(); ++i) locals_.push_back(!by_slots_ && i < type_.params.size() ? argument(i + 1, local_types_[i]) : make_register(local_types_[i]));
  local_weights_.resize(locals_.size());
  memory_ = make_int();
  if (native_.fuel) {
    fuel_ = make_int();
    load_fuel();
  }
  entry_ = cc_.cursor();
  if (job_.loop != Job::kEntry) {
    loop_entry_ = cc_.newLabel();
    jump(loop_entry_);
  } else {
    u32 from = 0;
    for (std::size_t i = 0; i < local_types_.size(); ++i) {
      if (i >= type_.params.size()) move(locals_[i], {.kind = Value::Kind::kConst, .type = local_types_[i]});
      else if (by_slots_) load_slot(locals_[i], local_types_[i], at(slots_, from * 8));
      from += slots_of(local_types_[i]);
    }
    charge();
  }
  return supported_;
}

// Everything that is alive at the loop's head, from where the interpreter keeps it. Its frame: locals, the return address, operands.
void FunctionCompiler::begin_loop_entry(const Block& loop) {
  jump(loop.start);
  cc_.bind(loop_entry_);
  u32 slot = 0;
  for (std::size_t i = 0; i < locals_.size(); ++i) {
    load_slot(locals_[i], local_types_[i], at(slots_, slot * 8));
    slot += slots_of(local_types_[i]);
  }
  slot = operand_slot_;
  for (const Value& v : stack_) {
    if (v.kind == Value::Kind::kRegister) load_slot(v.reg, v.type, at(slots_, slot * 8));
    slot += slots_of(v.type);
  }
  loop_entered_ = true;
}

void FunctionCompiler::load_fuel() {
  if (native_.fuel) load_word(fuel_, at(vm_, offsetof(Vm, fuel)));
}

bool FunctionCompiler::run(CompiledFunction& out) {
  if (!start()) return false;
  blocks_.push_back({.opcode = kBlock, .end = cc_.newLabel(), .results = type_.results});
  while (!blocks_.empty() && supported_) {
    if (dead_) skip_dead_code(reader_, module_);
    wasm_ = static_cast<u32>(reader_.offset());
    step();
  }
  if (!supported_ || (job_.loop != Job::kEntry && !loop_entered_)) return false;
  finish(out);
  return supported_ && out.frame_bytes <= kFrameBytesMax;
}

void FunctionCompiler::finish(CompiledFunction& out) {
  settle_charge();
  for (std::size_t i = 0; i < traps_.size(); ++i) {
    wasm_ = traps_[i].wasm;
    cc_.bind(traps_[i].label);
    place(traps_[i].trap);
    fail_here();
  }
  wasm_ = module_.functions[job_.function].body.from;
  Label too_deep;
  BaseNode* last = cc_.cursor();
  if (calls_) {
    too_deep = cc_.newLabel();
    cc_.bind(too_deep);
    place(Trap::kStack);
    fail_here();
    last = cc_.cursor();
  }
  cc_.setCursor(entry_);
  if (calls_) {  // a function that calls nothing fits into what is kept free
    check_stack(too_deep);
  }
  if (memory_used_) load_word(memory_, at(vm_, offsetof(Vm, memory_base)));
  cc_.setCursor(last);
  grant_wishes();
  cc_.endFunc();
  for (const JumpTable& table : tables_) {
    cc_.align(AlignMode::kData, 4);
    cc_.bind(table.at);
    for (const Label& target : table.targets) cc_.embedLabelDelta(target, table.at, 4);
  }
  assembler_ = std::make_unique<PlacingAssembler>(code_, out.places);
  bool good = cc_.runPasses() == kErrorOk;
  if (good) describe_frame(out);
  if (!good || cc_.serializeTo(assembler_.get()) != kErrorOk || code_.flatten() != kErrorOk || code_.resolveUnresolvedLinks() != kErrorOk) unsupported();
}

void FunctionCompiler::simple(u32 code, const Op& op) {
  if (code >= kPrefixSimd) {
    if (!vector(code, op)) unsupported();
  } else if (is_memory(op.immediates)) {
    if (!memory_access(code, op)) unsupported();
  } else if (!scalar(code, op)) {
    unsupported();
  }
}

void FunctionCompiler::step() {
  std::uint8_t code = reader_.byte();
  ++charged_;
  switch (code) {
    case kUnreachable: jump(trap_label(Trap::kUnreachable)), dead_ = true; break;
    case kNop: break;
    case kBlock: case kLoop: case kIf: begin_block(code); break;
    case kElse: start_else(); break;
    case kEnd: end_block(); break;
    case kBr: branch(reader_.u32()); break;
    case kBrIf: branch_if(reader_.u32()); break;
    case kBrTable: branch_table(); break;
    case kReturn: emit_return(), dead_ = true; break;
    case kCall: if (!call(reader_.u32())) unsupported(); break;
    case kCallIndirect: if (!call_indirect()) unsupported(); break;
    case kCallRef: if (!call_reference()) unsupported(); break;
    case kDrop: pop(); break;
    case kSelect: select(kBottom); break;
    case kSelectTyped: reader_.u32(), select(read_value_type(reader_, module_)); break;
    case kLocalGet: {
      u32 local = reader_.u32();
      used(local_weights_[local]);
      push({.kind = Value::Kind::kLocal, .type = local_types_[local], .local = local});
      break;
    }
    case kLocalSet: case kLocalTee: {
      u32 local = reader_.u32();
      Value v = pop();
      used(local_weights_[local]);
      if (!(v.kind == Value::Kind::kLocal && v.local == local)) set_local(local, v);
      if (code == kLocalTee) push({.kind = Value::Kind::kLocal, .type = local_types_[local], .local = local});
      break;
    }
    case kGlobalGet: global_get(reader_.u32()); break;
    case kGlobalSet: global_set(reader_.u32()); break;
    case kTableGet: case kTableSet: table_access(code); break;
    case kMemorySize: memory_size(reader_.u32()); break;
    case kMemoryGrow: {
      u32 memory = reader_.u32();
      ValType type = stack_.back().type;
      Value pages = pop();
      push_const(kI64, memory);
      push(pages);
      InvokeNode* node = help(reinterpret_cast<const void*>(&help_memory_grow), 2, true);
      Gp d = make_int();
      node->setRet(0, d);
      push_register(type, d);
      break;
    }
    case kI32Const: push_const(kI32, static_cast<u32>(reader_.s32())); break;
    case kI64Const: push_const(kI64, static_cast<u64>(reader_.s64())); break;
    case kF32Const: push_const(kF32, reader_.raw<u32>()); break;
    case kF64Const: push_const(kF64, reader_.raw<u64>()); break;
    case kRefNull: {
      ValType type = make_ref(read_heap_type(reader_, module_), true);
      if (!supported(type)) return unsupported();
      push_const(type, 0);
      break;
    }
    case kRefIsNull: {
      push_condition(is_zero(gp(pop())));
      break;
    }
    case kRefFunc: {
      u32 index = reader_.u32();
      push_register(make_ref(module_.functions[index].type, false), object(offsetof(Vm, functions), index));
      break;
    }
    case kRefAsNonNull: {
      trap_if_zero(gp(stack_.back()), Trap::kNullReference);
      break;
    }
    case kPrefixByteMisc: if (!misc()) unsupported(); break;
    case kPrefixByteSimd: {
      u32 sub = reader_.u32();
      simple(kPrefixSimd + sub, kOps.simd[sub]);
      break;
    }
    default:
      if (kOps.plain[code].name == nullptr) return unsupported();  // exceptions, tail calls, branches on null
      simple(code, kOps.plain[code]);
  }
}

}  // namespace monopod::wasm::jit
