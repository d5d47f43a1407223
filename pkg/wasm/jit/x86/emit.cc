// What the shared files of the compilers ask of a processor: moves, conditions, traps.
#include <sys/platform/x86.h>

#include "wasm/jit/jit.h"
#include "wasm/jit/helpers.h"
#include "wasm/jit/lowering.h"
#include "wasm/jit/stubs.h"

namespace monopod::wasm::jit {

using namespace asmjit;

// What the libc found at start: asking the processor again, as asmjit does, takes a short program under a hypervisor a tenth of its time.
std::string_view missing_features() {
  bool v3 = CPU_FEATURE_ACTIVE(AVX2) && CPU_FEATURE_ACTIVE(BMI1) && CPU_FEATURE_ACTIVE(BMI2) && CPU_FEATURE_ACTIVE(LZCNT) && CPU_FEATURE_ACTIVE(POPCNT);
  return v3 ? "" : "the processor is older than x86-64-v3";
}

// ---- moves

void Lowering::move(const BaseReg& to, const Value& from) {
  if (!is_integer(from.type)) {
    x86::Xmm d = to.as<x86::Xmm>();
    if (from.kind == Value::Kind::kConst) {
      if ((from.bits[0] | from.bits[1]) == 0) cc_.vxorps(d, d, d);
      else if (from.type == kF32) cc_.vmovss(d, constant32(static_cast<u32>(from.bits[0])));
      else if (from.type == kF64) cc_.vmovsd(d, constant64(from.bits[0]));
      else cc_.vmovups(d, constant128(from.bits[0], from.bits[1]));
      return;
    }
    return load(to, from);
  }
  x86::Gp d = to.as<x86::Gp>();
  switch (from.kind) {
    case Value::Kind::kConst:
      if (from.bits[0] <= 0xffff'ffff) cc_.mov(d.r32(), static_cast<u32>(from.bits[0]));
      else cc_.mov(d, from.bits[0]);
      break;
    case Value::Kind::kScaled: cc_.lea(d.r32(), x86::ptr(u64{0}, scaled_index(from), from.shift)); break;
    case Value::Kind::kFlags: {
      bool two = from.condition.kind != Condition::Kind::kFlag;
      x86::Gp other = two ? make_int() : x86::Gp();
      cc_.mov(d.r32(), 0);  // moves leave the flags alone
      if (two) cc_.mov(other.r32(), 0);
      if (from.condition.kind == Condition::Kind::kFlag) {
        cc_.set(from.condition.code, d.r8());
      } else if (from.condition.kind == Condition::Kind::kEqualOrdered) {
        cc_.setnp(d.r8());
        cc_.sete(other.r8());
        cc_.and_(d.r8(), other.r8());
      } else {
        cc_.setp(d.r8());
        cc_.setne(other.r8());
        cc_.or_(d.r8(), other.r8());
      }
      break;
    }
    default: load(to, from);
  }
}

void Lowering::move_register(ValType type, const BaseReg& to, const BaseReg& from) {
  if (from.id() == to.id()) return;
  if (is_integer(type)) cc_.mov(to.as<x86::Gp>(), from.as<x86::Gp>());
  else cc_.vmovaps(to.as<x86::Xmm>(), from.as<x86::Xmm>());
}

void Lowering::load_word(const Gp& to, const Mem& from) { cc_.mov(to, from); }
void Lowering::store_word(const Mem& to, const Gp& from) { cc_.mov(to, from); }
void Lowering::load_element(const Gp& to, const Gp& data, const Gp& index) { cc_.mov(to, x86::ptr(data, index, 3, 0, 8)); }
void Lowering::store_element(const Gp& data, const Gp& index, const Gp& from) { cc_.mov(x86::ptr(data, index, 3, 0, 8), from); }
void Lowering::add_bytes(const Gp& to, const Gp& from, u32 bytes) { cc_.lea(to, x86::ptr(from, static_cast<std::int32_t>(bytes))); }
void Lowering::shift_right(const Gp& r, u32 count) { cc_.shr(r, count); }
void Lowering::address_of(const Gp& to, const Mem& area) { cc_.lea(to, area); }

void Lowering::load_slot(const BaseReg& to, ValType type, x86::Mem from) {
  from.setSize(0);
  if (type == kV128) cc_.vmovups(to.as<x86::Xmm>(), from);
  else if (type == kF64) cc_.vmovsd(to.as<x86::Xmm>(), from);
  else if (type == kF32) cc_.vmovss(to.as<x86::Xmm>(), from);
  else cc_.mov(to.as<x86::Gp>(), from);
}

void Lowering::store_slot(Mem to, ValType type, const BaseReg& from) {
  to.setSize(0);
  if (type == kV128) cc_.vmovups(to, from.as<x86::Xmm>());
  else if (type == kF64) cc_.vmovsd(to, from.as<x86::Xmm>());
  else if (type == kF32) cc_.vmovss(to, from.as<x86::Xmm>());
  else cc_.mov(to, from.as<x86::Gp>());
}

// ---- conditions

Condition negated(Condition c) {
  switch (c.kind) {
    case Condition::Kind::kFlag: return {.code = x86::negateCond(c.code)};
    case Condition::Kind::kEqualOrdered: return {.kind = Condition::Kind::kUnequalOrNot};
    case Condition::Kind::kUnequalOrNot: break;
  }
  return {.kind = Condition::Kind::kEqualOrdered};
}

void Lowering::jump_if(Condition c, const Label& to) {
  switch (c.kind) {
    case Condition::Kind::kFlag: cc_.j(c.code, to); break;
    case Condition::Kind::kEqualOrdered: {
      Label over = cc_.newLabel();
      cc_.jp(over);
      cc_.je(to);
      cc_.bind(over);
      break;
    }
    case Condition::Kind::kUnequalOrNot:
      cc_.jp(to);
      cc_.jne(to);
      break;
  }
}

Condition Lowering::condition_of(const Value& v) {
  if (v.kind == Value::Kind::kFlags) return v.condition;
  x86::Gp r = gp(v);
  cc_.test(r.r32(), r.r32());
  return {.code = x86::CondCode::kNZ};
}

Condition Lowering::is_zero(const Gp& r, ValType type) {
  if (type == kI32) cc_.test(r.r32(), r.r32());
  else cc_.test(r, r);
  return {.code = x86::CondCode::kZ};
}

void Lowering::jump(const Label& to) { cc_.jmp(to); }
void Lowering::trap_if(x86::CondCode code, Trap trap) { cc_.j(code, trap_label(trap)); }
void Lowering::trap_if_zero(const Gp& r, Trap trap) {
  cc_.test(r, r);
  trap_if(x86::CondCode::kZ, trap);
}
void Lowering::check_flag(const x86::Gp& flag, Trap trap) {
  cc_.test(flag.r32(), flag.r32());
  trap_if(x86::CondCode::kZ, trap);
}
void Lowering::fail_here() { cc_.ud2(); }
void Lowering::read(const Gp& at) { cc_.test(x86::dword_ptr(at), at.r32()); }
void Lowering::compare_with(const Gp& left, const Mem& right) { cc_.cmp(left, right); }
void Lowering::compare_with(const Mem& left, u32 right) { cc_.cmp(left, right); }

void Lowering::jump_unless_below(const Gp& index, u32 count, const Label& to) {
  cc_.cmp(index.r32(), count);
  cc_.jae(to);
}

void Lowering::select(ValType type) {
  Value condition = pop(), second = pop(), first = pop();
  if (type == kBottom) type = first.type;
  // Operands first: what makes them may change the flags that a comparison left, unless it left none yet.
  Condition c = condition_of(condition);
  BaseReg d = make_register(type);
  move(d, first);
  if (is_integer(type) && c.kind == Condition::Kind::kFlag) {
    cc_.cmov(x86::negateCond(c.code), d.as<x86::Gp>(), gp(second));
  } else {
    Label over = cc_.newLabel();
    jump_if(c, over);
    move(d, second);
    cc_.bind(over);
  }
  push_register(type, d);
}

void Lowering::check_stack(const Label& too_deep) {
  cc_.cmp(x86::rsp, x86::qword_ptr(vm_, static_cast<std::int32_t>(offsetof(Vm, native_limit))));
  cc_.jb(too_deep);
}

// ---- calls

Operand Lowering::entry_at(const Gp& natives, u32 function) { return at(natives, std::size_t{function} * 8); }

void Lowering::emit_tail_jump(const TailSite& site) {
  if (site.stub != nullptr) {
    if (site.room != 0) {
      cc_.mov(x86::ecx, site.slots);
      cc_.mov(x86::edx, site.room);
    } else {
      cc_.mov(x86::eax, site.words);
    }
    cc_.mov(x86::r11, at(kVmRegister, offsetof(Vm, helpers)));
    cc_.jmp(at(x86::r11, helper_number(site.stub) * 8));
    return;
  }
  for (u32 i = 0; i < site.words; ++i) {
    cc_.mov(x86::rax, at(kVmRegister, offsetof(Vm, tail_words) + std::size_t{i} * 8));
    cc_.mov(at(x86::rsp, 8 + std::size_t{i} * 8), x86::rax);
  }
  if (site.own) return void(cc_.jmp(own_entry().as<Label>()));
  if (site.function == kNoLocal) return void(cc_.jmp(at(kVmRegister, offsetof(Vm, tail_target))));
  cc_.mov(x86::rax, at(kVmRegister, offsetof(Vm, natives)));
  cc_.jmp(at(x86::rax, std::size_t{site.function} * 8));
}

void Lowering::jump_if_caught(const Label& to) {
  cc_.cmp(at(vm_, offsetof(Vm, caught)), 0);
  cc_.jne(to);
}

void Lowering::jump_if_foreign(const Gp& object_at, const Label& to) {
  cc_.cmp(at(object_at, offsetof(FunctionObject, vm)), vm_);
  cc_.jne(to);
}

}  // namespace monopod::wasm::jit
