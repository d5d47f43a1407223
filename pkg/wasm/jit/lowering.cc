#include "wasm/jit/lowering.h"

#include <algorithm>
#include <csetjmp>
#include <cstdlib>

#include "wasm/function_body.h"
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

// Errors in the middle of a function are told once, at its end.
class Errors : public ErrorHandler {
 public:
  void handleError(asmjit::Error, const char*, BaseEmitter*) override { any = true; }
  bool any = false;
};

struct Attempt : Compilation {
  Errors errors;
  std::unique_ptr<Lowering> compiler;
};

std::unique_ptr<Compilation> attempt(NativeCode& native, const Job& job, CompiledFunction& out, std::unique_ptr<Lowering> (*make)(NativeCode&, const Job&, CodeHolder&)) {
  auto made = std::make_unique<Attempt>();
  made->code.init(Environment::host());
  made->code.setErrorHandler(&made->errors);
  made->compiler = make(native, job, made->code);
  std::jmp_buf here;
  if (setjmp(here) != 0) {
    on_assertion = nullptr;
    (void)made.release();  // in no state to be destroyed
    return nullptr;
  }
  on_assertion = &here;
  bool good = made->compiler->run(out) && !made->errors.any;
  on_assertion = nullptr;
  if (!good) return nullptr;
  return made;
}

}  // namespace

std::unique_ptr<Compilation> compile_function(NativeCode& native, const Job& job, CompiledFunction& out) {
  const Function& f = native.module.functions[job.function];
  if (native.optimise && f.body.to - f.body.from <= kCompiledBodyBytesMax) {
    out.optimised = true;
    if (std::unique_ptr<Compilation> made = attempt(native, job, out, make_optimising_compiler)) return made;
    out = {.function = job.function};
  }
  if constexpr (target::kBaseline) return attempt(native, job, out, make_baseline_compiler);
  else return nullptr;
}

Lowering::Lowering(NativeCode& native, const Job& job, CodeHolder& code, BaseEmitter& emitter)
    : native_(native),
      module_(native.module),
      job_(job),
      type_(*native.module.function_types[job.function]),
      by_slots_(job.loop != Job::kEntry || !in_registers(type_)),
      code_(code),
      cc_(*emitter.as<target::Emitter>()),
      reader_(module_.bytes.data(), module_.bytes.data() + module_.functions[job.function].body.from, module_.bytes.data() + module_.functions[job.function].body.to) {}

// ---- operands

BaseReg Lowering::result_register(ValType type) {
  Reader ahead = reader_;
  std::uint8_t code = ahead.byte();
  if (code != kLocalSet && code != kLocalTee) return make_register(type);
  u32 local = ahead.u32();
  if (!locals_[local].isValid()) return make_register(type);
  settle_local(local);
  return locals_[local];
}

target::Gp Lowering::result_over(const Value& operand) {
  std::uint8_t next = reader_.peek();
  if (operand.kind == Value::Kind::kRegister && next != kLocalSet && next != kLocalTee) return operand.reg.as<Gp>();
  return result_gp(operand.type);
}

bool Lowering::read_locals(u32 max) {
  local_types_.assign(type_.params.begin(), type_.params.end());
  for (u32 groups = reader_.u32(); groups-- > 0;) {
    u32 count = reader_.u32();
    if (count > max - std::min<std::size_t>(max, local_types_.size())) return false;
    local_types_.resize(local_types_.size() + count, read_value_type(reader_, module_));
  }
  for (ValType t : local_types_) operand_slot_ += slots_of(t);
  ++operand_slot_;  // the return address
  return true;
}

void Lowering::look_ahead() {
  Reader r = reader_;
  local_uses_.resize(local_types_.size());
  std::vector<bool> loops;
  u64 weight = 1;
  u32 depth = 0;
  bool plain_memory = module_.memories.size() == 1 && !module_.memories[0].is64;
  auto weigh = [&] { weight = u64{1} << (3 * std::min<u32>(depth, 8)); };
  auto calls = [&](const FuncType& type, bool imported) {
    foresee_call(type, imported);
    calls_ahead_ += weight;
  };
  while (!r.done()) {
    std::uint8_t code = r.byte();
    switch (code) {
      case kBlock: case kLoop: case kIf:
        skip_block_type(r, module_);
        loops.push_back(code == kLoop);
        if (code == kLoop) ++depth, weigh(), has_loops_ = true;
        break;
      case kEnd:
        if (!loops.empty() && loops.back()) --depth, weigh();
        if (!loops.empty()) loops.pop_back();
        break;
      case kLocalGet: case kLocalSet: case kLocalTee: local_uses_[r.u32()] += weight; break;
      case kCall: {
        u32 function = r.u32();
        calls(*module_.function_types[function], module_.functions[function].imported);
        break;
      }
      case kCallIndirect: calls(*module_.type_of[r.u32()], false), r.u32(); break;
      case kCallRef: calls(*module_.type_of[r.u32()], false); break;
      case kMemoryGrow: calls({}, false), r.u32(); break;
      case kReturnCall: {
        u32 function = r.u32();
        if (module_.functions[function].imported) calls(*module_.function_types[function], true);
        else tails_ahead_ = true;
        break;
      }
      case kReturnCallIndirect: r.u32(), r.u32(), tails_ahead_ = true; break;
      case kReturnCallRef: r.u32(), tails_ahead_ = true; break;
      case kThrow: foresee_call(module_.registry->type(module_.tags[r.u32()]), true), ++calls_ahead_; break;
      case kThrowRef: foresee_call({}, false), ++calls_ahead_; break;
      case kTryTable:
        skip_block_type(r, module_);
        for (u32 n = r.u32(); n-- > 0;) {
          if (r.byte() < 2) r.u32();
          r.u32();
        }
        tries_ahead_ = true;
        ++calls_ahead_;
        loops.push_back(false);
        break;
      // What is most frequent, without asking what it is.
      case kI32Const: case kI64Const:
        while ((r.byte() & 0x80) != 0) {}
        break;
      case kBr: case kBrIf: r.u32(); break;
      default:
        if (code >= 0x45 && code <= 0xc4) break;
        if (code >= 0x28 && code <= 0x3e && plain_memory) {
          if (r.u32() < 0x40) r.u32();
          else r.u32(), r.u32();
          break;
        }
        if (code == kPrefixByteMisc && r.peek() >= 8) calls({}, false);
        skip_immediates(r, module_, code);
    }
  }
}

void Lowering::emit_trap_sites() {
  for (std::size_t i = 0; i < traps_.size(); ++i) {
    wasm_ = traps_[i].wasm;
    cc_.bind(traps_[i].label);
    place(traps_[i].trap);
    fail_here();
  }
}

void Lowering::emit_jump_tables() {
  for (const JumpTable& table : tables_) {
    cc_.align(AlignMode::kData, 4);
    cc_.bind(table.at);
    for (const Label& target : table.targets) cc_.embedLabelDelta(target, table.at, 4);
  }
}

// Kept as flags only where the next instruction takes them from there.
void Lowering::push_condition(Condition c) {
  Value v{.kind = Value::Kind::kFlags, .type = kI32, .condition = c};
  std::uint8_t next = reader_.peek();
  if (next == kBrIf || next == kIf || next == kSelect || next == 0x45) return push(v);
  BaseReg d = make_register(kI32);
  move(d, v);
  push_register(kI32, d);
}

void Lowering::branch_where(Condition c, u32 depth) {
  Label over = cc_.newLabel();
  jump_if(negated(c), over);
  branch(depth);
  dead_ = false;
  cc_.bind(over);
  charge();
}

// The reference is what the label's last value is, or what is left where nothing branches.
void Lowering::branch_on_null(u32 depth, bool when_not_null) {
  Value reference = pop();
  Gp r = gp(reference);
  if (when_not_null) push(reference);
  settle_for(depth);
  Condition null = is_zero(r, kI64);
  branch_where(when_not_null ? negated(null) : null, depth);
  if (when_not_null) pop();
  else push(reference.kind == Value::Kind::kLocal ? reference : Value{.type = reference.type, .reg = r});
}

// ---- traps

Label Lowering::trap_label(Trap trap) {
  if (!traps_.empty() && traps_.back().wasm == wasm_ && traps_.back().trap == trap) return traps_.back().label;
  traps_.push_back({cc_.newLabel(), wasm_, trap});
  return traps_.back().label;
}

// ---- instructions

void Lowering::simple(u32 code, const Op& op) {
  bool done = code >= kPrefixSimd ? vector(code, op) : is_memory(op.immediates) ? memory_access(code, op) : scalar(code);
  if (!done) return unsupported();
  if (NanShape shape = native_.deterministic ? nan_shape(code) : NanShape::kNone; shape != NanShape::kNone) canonicalise(shape);
}

// A load that faults once somebody has interrupted.
void Lowering::check_interruption() {
  if (!native_.interruptible) return;
  Gp epoch = make_int();
  load_word(epoch, at(vm_, offsetof(Vm, epoch)));
  place(Trap::kInterrupted);
  read(epoch);
}

void Lowering::step() {
  std::uint8_t code = reader_.byte();
  ++charged_;
  switch (code) {
    case kUnreachable: jump(trap_label(Trap::kUnreachable)), dead_ = true; break;
    case kNop: break;
    case kBlock: case kLoop: case kIf: case kTryTable: begin_block(code); break;
    case kElse: start_else(); break;
    case kEnd: end_block(); break;
    case kThrow: throw_tag(reader_.u32()); break;
    case kThrowRef: throw_reference(); break;
    case kBr: branch(reader_.u32()); break;
    case kBrIf: branch_if(reader_.u32()); break;
    case kBrTable: branch_table(); break;
    case kReturn: emit_return(), dead_ = true; break;
    case kCall: if (!call(reader_.u32())) unsupported(); break;
    case kCallIndirect: if (!call_indirect()) unsupported(); break;
    case kCallRef: if (!call_reference()) unsupported(); break;
    case kReturnCall: case kReturnCallIndirect: case kReturnCallRef: tail_call(code); break;
    case kDrop: pop(); break;
    case kSelect: select(kBottom); break;
    case kSelectTyped: reader_.u32(), select(read_value_type(reader_, module_)); break;
    case kLocalGet: {
      u32 local = reader_.u32();
      used_local(local);
      push({.kind = Value::Kind::kLocal, .type = local_types_[local], .local = local});
      break;
    }
    case kLocalSet: case kLocalTee: {
      u32 local = reader_.u32();
      Value v = pop();
      used_local(local);
      if (!(v.kind == Value::Kind::kLocal && v.local == local)) set_local(local, v);
      if (code == kLocalTee) push({.kind = Value::Kind::kLocal, .type = local_types_[local], .local = local});
      break;
    }
    case kGlobalGet: global_get(reader_.u32()); break;
    case kGlobalSet: global_set(reader_.u32()); break;
    case kTableGet: case kTableSet: table_access(code); break;
    case kMemorySize: memory_size(reader_.u32()); break;
    case kMemoryGrow: memory_grow(reader_.u32()); break;
    case kI32Const: push_const(kI32, static_cast<u32>(reader_.s32())); break;
    case kI64Const: push_const(kI64, static_cast<u64>(reader_.s64())); break;
    case kF32Const: push_const(kF32, reader_.raw<u32>()); break;
    case kF64Const: push_const(kF64, reader_.raw<u64>()); break;
    case kRefNull: {
      ValType type = make_ref(read_heap_type(reader_, module_), true);
      push_const(type, 0);
      break;
    }
    case kRefIsNull: {
      push_condition(is_zero(gp(pop()), kI64));
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
    case kBrOnNull: case kBrOnNonNull: branch_on_null(reader_.u32(), code == kBrOnNonNull); break;
    case kPrefixByteMisc: if (!misc()) unsupported(); break;
    case kPrefixByteSimd: {
      u32 sub = reader_.u32();
      simple(kPrefixSimd + sub, kOps.simd[sub]);
      break;
    }
    default:
      if (kOps.plain[code].name == nullptr) return unsupported();
      simple(code, kOps.plain[code]);
  }
}

}  // namespace monopod::wasm::jit
