#include "wasm/jit/x86/baseline.h"

#include <algorithm>
#include <bit>

#include "wasm/function_body.h"
#include "wasm/jit/stubs.h"
#include "wasm/limits.h"
#include "wasm/validator.h"

namespace monopod::wasm::jit {

using namespace asmjit;

namespace {

using u32 = std::uint32_t;

constexpr u32 mask_of(std::initializer_list<u32> ids) {
  u32 out = 0;
  for (u32 id : ids) out |= u32{1} << id;
  return out;
}
// Operands have these; r15 is the instance, r14 the memory where there is one.
constexpr u32 kTemporaries = mask_of({x86::Gp::kIdAx, x86::Gp::kIdCx, x86::Gp::kIdDx, x86::Gp::kIdSi, x86::Gp::kIdDi, x86::Gp::kIdR8, x86::Gp::kIdR9}) | 0x00ff'0000;
constexpr u32 kVectors = 0xffff'0000, kIntegers = 0x0000'ffff;
// Locals have those; the first are preserved by calls.
constexpr u32 kPreserved[] = {x86::Gp::kIdBx, x86::Gp::kIdBp, x86::Gp::kIdR12, x86::Gp::kIdR13, x86::Gp::kIdR14};
constexpr u32 kScratched[] = {x86::Gp::kIdR10, x86::Gp::kIdR11};
constexpr u32 kVectorLocalsFrom = 8;
constexpr u32 kSlotsClearedOneByOneMax = 64;

BaseReg real(u32 bit) {
  u32 id = static_cast<u32>(std::countr_zero(bit));
  if (id >= 16) return x86::xmm(id - 16);
  return x86::gpq(id);
}

}  // namespace

std::unique_ptr<Lowering> make_baseline_compiler(NativeCode& native, const Job& job, CodeHolder& code) { return std::make_unique<BaselineCompiler>(native, job, code); }

BaselineCompiler::BaselineCompiler(NativeCode& native, const Job& job, CodeHolder& code) : AssemblerOwner(code), Lowering(native, job, code, assembler_), temporaries_(kTemporaries) {
  vm_ = kVmRegister;
  assembler_.addEncodingOptions(EncodingOptions::kOptimizedAlign);  // see compiler.cc
}

// ---- registers

u32 BaselineCompiler::held_by(const Value& v) {
  bool own = v.kind == Value::Kind::kRegister || (v.kind == Value::Kind::kScaled && v.local == kNoLocal);
  return own ? bit_of(v.reg) : 0;
}

void BaselineCompiler::push(const Value& v) {
  stack_.push_back(v);
  stack_.back().home = top_;
  top_ += slots_of(v.type);
  // An operand may be in a local's register only where the result was made there for the local that is set next.
  held_ |= held_by(v) & temporaries_;
  if (v.local != kNoLocal) ++pending_[v.local];
}

BaselineCompiler::Value BaselineCompiler::pop() {
  Value v = stack_.back();
  stack_.pop_back();
  top_ = v.home;
  u32 held = held_by(v);
  held_ &= ~held;
  pinned_ |= held;
  if (v.local != kNoLocal) --pending_[v.local];
  settled_ = std::min(settled_, stack_.size());
  spill_from_ = std::min(spill_from_, stack_.size());
  return v;
}

void BaselineCompiler::truncate_to(u32 height) {
  while (stack_.size() > height) pop();
  pinned_ = 0;
}

BaseReg BaselineCompiler::make_register(ValType type) {
  u32 usable = temporaries_ & (is_integer(type) ? kIntegers : kVectors);
  u32 free = usable & ~(held_ | pinned_);
  if (free == 0) {
    if (!spill_one(usable & ~pinned_)) return unsupported(), real(usable & -usable);
    free = usable & ~(held_ | pinned_);
  }
  u32 bit = free & -free;
  pinned_ |= bit;
  return real(bit);
}

BaseReg BaselineCompiler::in_register(const Value& v) {
  if (v.kind == Value::Kind::kRegister) return v.reg;
  if (v.kind == Value::Kind::kLocal && locals_[v.local].isValid()) return locals_[v.local];
  BaseReg d = make_register(v.type);
  move(d, v);
  return d;
}

void BaselineCompiler::load(const BaseReg& to, const Value& from) {
  if (from.kind == Value::Kind::kSlot) return load_slot(to, from.type, operand_place(from.slot));
  if (from.kind == Value::Kind::kLocal && !locals_[from.local].isValid()) return load_slot(to, from.type, frame(local_slots_[from.local]));
  move_register(from.type, to, from.kind == Value::Kind::kRegister ? from.reg : locals_[from.local]);
}

// Whoever has it moves away.
x86::Gp BaselineCompiler::fixed(const x86::Gp& real_register) {
  u32 bit = bit_of(real_register);
  pinned_ |= bit;
  if ((held_ & bit) == 0) return real_register;
  std::size_t i = stack_.size();
  while (held_by(stack_[--i]) != bit) {}
  held_ &= ~bit;
  u32 free = temporaries_ & kIntegers & ~(held_ | pinned_);
  if (free == 0) return spill(stack_[i]), real_register;
  stack_[i].reg = real(free & -free);
  cc_.mov(stack_[i].reg.as<x86::Gp>(), real_register);
  held_ |= free & -free;
  return real_register;
}

void BaselineCompiler::to_frame(u32 slot, const Value& v) {
  bool integer = is_integer(v.type);
  if (v.kind == Value::Kind::kConst && integer && v.bits[0] <= 0x7fff'ffff) {
    x86::Mem to = frame(slot);
    to.setSize(8);
    cc_.mov(to, static_cast<std::int32_t>(v.bits[0]));
    return;
  }
  if (v.kind == Value::Kind::kScaled && v.local == kNoLocal) {  // nobody else has its register
    move(v.reg, v);
    return store_slot(frame(slot), v.type, v.reg);
  }
  u32 before = pinned_;
  store_slot(frame(slot), v.type, in_register(v));
  pinned_ = before;
}

void BaselineCompiler::spill(Value& v) {
  to_frame(operand_slot_ + v.home, v);
  held_ &= ~held_by(v);
  if (v.local != kNoLocal) --pending_[v.local];
  v = {.kind = Value::Kind::kSlot, .type = v.type, .home = v.home, .slot = v.home};
}

bool BaselineCompiler::spill_one(u32 usable) {
  bool first = true;
  for (std::size_t i = spill_from_; i < stack_.size(); ++i) {
    u32 held = held_by(stack_[i]);
    if (held != 0 && (held & usable) != 0) return spill(stack_[i]), true;
    if (held != 0) first = false;
    if (first) spill_from_ = i + 1;
  }
  return false;
}

void BaselineCompiler::spill_below(u32 count) {
  for (; spill_from_ < count; ++spill_from_)
    if (held_by(stack_[spill_from_]) != 0) spill(stack_[spill_from_]);
}

void BaselineCompiler::settle_frame() {
  for (; settled_ < stack_.size(); ++settled_) {
    Value& v = stack_[settled_];
    if (v.kind != Value::Kind::kConst && v.kind != Value::Kind::kSlot) spill(v);
  }
  spill_from_ = settled_;
}

void BaselineCompiler::settle_constants(std::size_t count) {
  for (std::size_t i = stack_.size() - count; i < stack_.size(); ++i)
    if (stack_[i].kind == Value::Kind::kConst) spill(stack_[i]);
}

void BaselineCompiler::settle_local(u32 local) {
  for (std::size_t i = stack_.size(); pending_[local] != 0;) {
    Value& v = stack_[--i];
    if (v.local != local) continue;
    if ((temporaries_ & (is_integer(v.type) ? kIntegers : kVectors) & ~(held_ | pinned_)) == 0 || i < spill_from_) {
      spill(v);
      continue;
    }
    BaseReg d = make_register(v.type);
    move(d, v);
    --pending_[local];
    v = {.type = v.type, .home = v.home, .reg = d};
    held_ |= bit_of(d);
    release(d);
  }
}

void BaselineCompiler::set_local(u32 local, const Value& v) {
  settle_local(local);
  if (!locals_[local].isValid()) return to_frame(local_slots_[local], v);
  if (v.kind == Value::Kind::kRegister && v.reg.id() == locals_[local].id()) return;  // made there
  move(locals_[local], v);
}

x86::Mem BaselineCompiler::constant(const void* bytes, std::size_t count) {
  Constant c{.label = {}, .bytes = static_cast<u32>(count)};
  std::memcpy(c.bits, bytes, count);
  for (std::size_t i = constants_.size(), last = i > 8 ? i - 8 : 0; i > last; --i)
    if (const Constant& other = constants_[i - 1]; other.bytes >= c.bytes && std::memcmp(other.bits, c.bits, count) == 0) return x86::ptr(other.label, 0, c.bytes);
  c.label = cc_.newLabel();
  constants_.push_back(c);
  return x86::ptr(c.label, 0, c.bytes);
}

// ---- places and fuel

void BaselineCompiler::place(Trap trap) {
  Place p{.native = static_cast<u32>(assembler_.offset()), .wasm = wasm_, .trap = trap, .catches = static_cast<std::uint8_t>(trap == Trap::kNone && catches())};
  if (!places_->empty() && places_->back().native == p.native) places_->back() = p;
  else places_->push_back(p);
}

void BaselineCompiler::patch_charge() {
  if (charge_at_ != 0) std::memcpy(assembler_.bufferData() + charge_at_, &charged_, sizeof charged_);
  charged_ = 0;
}

// The interpreter's blocks, charged before they run; how much is known at their end. Compiled code hands the register on; it is in memory while anything else runs.
void BaselineCompiler::charge() {
  if (!native_.fuel) return;
  patch_charge();
  cc_.sub(kFuel, 0x7fff'ffff);
  charge_at_ = assembler_.offset() - 4;
  trap_if(x86::CondCode::kL, Trap::kFuel);  // one instruction with the subtraction; what was below zero before is still
}

void BaselineCompiler::load_fuel() {
  if (native_.fuel) cc_.mov(kFuel, at(vm_, offsetof(Vm, fuel)));
}

void BaselineCompiler::store_fuel() {
  if (native_.fuel) cc_.mov(at(vm_, offsetof(Vm, fuel)), kFuel);
}

// ---- what has a register for the whole function

void BaselineCompiler::foresee_call(const FuncType& type, bool imported) {
  u32 bytes = imported ? std::max(type.param_slots, type.result_slots) * 8 : in_registers(type) ? stack_words(type) * 8 : 0;
  out_bytes_ = std::max(out_bytes_, bytes);
}

void BaselineCompiler::plan() {
  std::vector<std::pair<u64, u32>> by_weight;
  for (u32 i = 0; i < local_uses_.size(); ++i)
    if (local_uses_[i] > 2) by_weight.emplace_back(local_uses_[i], i);
  std::ranges::stable_sort(by_weight, std::greater<>(), &std::pair<u64, u32>::first);
  locals_.resize(local_types_.size());
  give_registers(by_weight, false);
  give_registers(by_weight, true);
  out_bytes_ = (out_bytes_ + 15) & ~15u;
}

// What calls do not preserve is worth it where there are fewer of them than uses; it costs nothing where there are none.
void BaselineCompiler::give_registers(std::vector<std::pair<u64, u32>>& by_weight, bool vectors) {
  std::vector<std::pair<u32, bool>> registers;  // as bits; whether calls preserve it
  auto add = [&](u32 id, bool preserved) { registers.emplace_back(u32{1} << id, preserved); };
  if (vectors) {
    for (u32 i = kVectorLocalsFrom; i < 16; ++i) add(16 + i, false);
  } else {
    if (calls_ahead_ == 0) for (u32 id : kScratched) add(id, false);
    for (u32 id : kPreserved)
      if ((id != kMemory.id() || module_.memories.empty()) && (id != kFuel.id() || !native_.fuel)) add(id, true);
    if (calls_ahead_ != 0) for (u32 id : kScratched) add(id, false);
  }
  std::size_t next = 0;
  for (const auto& [weight, local] : by_weight) {
    if (next == registers.size()) break;
    if (is_integer(local_types_[local]) == vectors) continue;
    auto [bit, preserved] = registers[next];
    if (!preserved && weight <= 2 * calls_ahead_) break;
    ++next;
    locals_[local] = real(bit);
    if (preserved) preserved_ |= bit;
    else if (calls_ahead_ != 0) locals_to_save_.push_back(local);
  }
  for (; next < registers.size(); ++next)
    if (!registers[next].second) temporaries_ |= registers[next].first;
}

// ---- the whole

void BaselineCompiler::save_registers(bool back) {
  u32 slot = saved_at_;
  for (u32 id : kPreserved) {
    if ((preserved_ >> id & 1) == 0) continue;
    if (back) cc_.mov(x86::gpq(id), frame(slot++));
    else cc_.mov(frame(slot++), x86::gpq(id));
  }
}

bool BaselineCompiler::start() {
  if (!read_locals(kLocalsMax)) return false;
  look_ahead();
  plan();
  pending_.resize(local_types_.size());
  local_slots_.reserve(local_types_.size());
  u32 slot = 0;
  for (ValType t : local_types_) {
    local_slots_.push_back(slot);
    slot += slots_of(t);
  }
  u32 slots = slots_of_function(module_, job_.function);
  if (slots == Function::kSlotsUnknown) return false;
  slots_at_ = slots + 1;
  saved_at_ = slots_at_ + 1;
  scratch_at_ = saved_at_ + static_cast<u32>(std::size(kPreserved));
  u64 bytes = out_bytes_ + u64{8} * (scratch_at_ + kScratchSlots + 1);
  if (bytes > kFrameBytesMax) return false;
  frame_bytes_ = static_cast<u32>(bytes | 15) - 7;  // with the return address a multiple of 16
  entry_ = cc_.newLabel();
  epilogue_ = cc_.newLabel();
  too_deep_ = cc_.newLabel();
  cc_.bind(entry_);
  cc_.sub(x86::rsp, frame_bytes_);
  if (calls_ahead_ != 0 || tails_ahead_) {  // a function that calls nothing fits into what is kept free; tail calls alone may make a loop
    check_stack(too_deep_);
  }
  save_registers(false);
  if (by_slots_) cc_.mov(frame(slots_at_), x86::rsi);
  if (tries_ahead_) {
    cc_.mov(x86::rax, at(vm_, offsetof(Vm, machine)));
    cc_.mov(x86::rax, at(x86::rax, offsetof(Machine, sp)));
    cc_.mov(kept_sp(), x86::rax);
  }
  if (job_.loop != Job::kEntry) {
    loop_entry_ = cc_.newLabel();
    cc_.jmp(loop_entry_);
    return supported_;
  }
  take_parameters();
  clear_locals();
  charge();
  return supported_;
}

void BaselineCompiler::take_parameters() {
  auto keep = [this](std::size_t i, const BaseReg& from) {
    if (locals_[i].isValid()) load(locals_[i], {.type = local_types_[i], .reg = from});
    else store_slot(frame(local_slots_[i]), local_types_[i], from);
  };
  auto keep_from = [&](std::size_t i, const x86::Mem& from) {
    if (locals_[i].isValid()) return load_slot(locals_[i], local_types_[i], from);
    // Not through a register that a parameter comes in or a local has.
    bool two = local_types_[i] == kV128;
    BaseReg through = two ? BaseReg(x86::xmm0) : BaseReg(x86::rax);
    load_slot(through, two ? kV128 : kI64, from);
    store_slot(frame(local_slots_[i]), two ? kV128 : kI64, through);
  };
  std::size_t i = 0;
  if (by_slots_) {
    for (; i < type_.params.size(); ++i) keep_from(i, x86::ptr(x86::rsi, static_cast<std::int32_t>(local_slots_[i] * 8)));
    return;
  }
  each_parameter(type_, [&](ValType t, u32, int reg, u32 stack) {
    if (reg < 0) keep_from(i, x86::ptr(x86::rsp, static_cast<std::int32_t>(frame_bytes_ + 8 + stack * 8)));
    else if (is_integer(t)) keep(i, target::kIntegers[reg]);
    else keep(i, x86::xmm(static_cast<u32>(reg)));
    ++i;
  });
}

void BaselineCompiler::clear_locals() {
  std::size_t first = type_.params.size();
  if (first == local_types_.size()) return;
  u32 from = local_slots_[first], to = operand_slot_ - 1;
  if (to - from > kSlotsClearedOneByOneMax) {
    cc_.lea(x86::rdi, frame(from));
    cc_.mov(x86::ecx, to - from);
    cc_.xor_(x86::eax, x86::eax);
    cc_.rep().stosq();
  } else {
    clear_frame(first);
  }
  for (std::size_t i = first; i < locals_.size(); ++i) {
    if (!locals_[i].isValid()) continue;
    if (is_integer(local_types_[i])) cc_.xor_(locals_[i].as<x86::Gp>().r32(), locals_[i].as<x86::Gp>().r32());
    else cc_.vxorps(locals_[i].as<x86::Xmm>(), locals_[i].as<x86::Xmm>(), locals_[i].as<x86::Xmm>());
  }
}

// Those that have no register, two slots at a time.
void BaselineCompiler::clear_frame(std::size_t first) {
  bool zero = false;
  for (std::size_t i = first; i < locals_.size(); ++i) {
    if (locals_[i].isValid()) continue;
    if (!zero) cc_.vxorps(x86::xmm0, x86::xmm0, x86::xmm0);
    zero = true;
    u32 slots = slots_of(local_types_[i]);
    bool next = slots == 1 && i + 1 < locals_.size() && !locals_[i + 1].isValid() && slots_of(local_types_[i + 1]) == 1;
    if (slots == 2 || next) cc_.vmovups(frame(local_slots_[i]), x86::xmm0);
    else cc_.vmovsd(frame(local_slots_[i]), x86::xmm0);
    if (next) ++i;
  }
}

// Everything that is alive at the loop's head, from where the interpreter keeps it: the slots have the same numbers.
void BaselineCompiler::begin_loop_entry(const Block& loop) {
  cc_.jmp(loop.start);
  cc_.bind(loop_entry_);
  cc_.lea(x86::rdi, frame(0));
  cc_.mov(x86::ecx, operand_slot_ + top_);
  cc_.rep().movsq();  // from rsi, which says where at the entry
  for (u32 i = 0; i < locals_.size(); ++i)
    if (locals_[i].isValid()) load_slot(locals_[i], local_types_[i], frame(local_slots_[i]));
  loop_entered_ = true;
}

bool BaselineCompiler::run(CompiledFunction& out) {
  places_ = &out.places;
  near_calls_ = &out.near_calls;
  constexpr std::size_t kOperandsMostly = 32, kBlocksMostly = 16, kBytesOfAPlace = 12;
  stack_.reserve(kOperandsMostly);
  blocks_.reserve(kBlocksMostly);
  places_->reserve(reader_.left() / kBytesOfAPlace);
  if (!start()) return false;
  blocks_.push_back({.opcode = kBlock, .end = epilogue_, .results = type_.results});
  while (!blocks_.empty() && supported_) {
    if (dead_) skip_dead_code(reader_, module_);
    wasm_ = static_cast<u32>(reader_.offset());
    pinned_ = 0;
    step();
  }
  if (!supported_ || (job_.loop != Job::kEntry && !loop_entered_)) return false;
  finish(out);
  return supported_;
}

void BaselineCompiler::finish(CompiledFunction& out) {
  out.has_loops = has_loops_;
  patch_charge();
  cc_.bind(epilogue_);
  save_registers(true);
  cc_.add(x86::rsp, frame_bytes_);
  cc_.ret();
  emit_foreign_calls();
  emit_trap_sites();
  wasm_ = module_.functions[job_.function].body.from;
  cc_.bind(too_deep_);
  place(Trap::kStack);
  cc_.ud2();
  emit_jump_tables();
  for (const Constant& c : constants_) {
    cc_.align(AlignMode::kData, c.bytes);
    cc_.bind(c.label);
    cc_.embed(c.bits, c.bytes);
  }
  out.link_bytes = frame_bytes_;
  out.frame_bytes = frame_bytes_ + 8;
  for (u32 id : kPreserved) out.saved |= preserved_ & 1u << id;
  out.saved_bytes = out_bytes_ + saved_at_ * 8;
  if (code_.flatten() != kErrorOk || code_.resolveUnresolvedLinks() != kErrorOk) unsupported();
}

}  // namespace monopod::wasm::jit
