#include "wasm/jit/compiler.h"

#include <algorithm>

#include "wasm/function_body.h"
#include "wasm/jit/stubs.h"
#include "wasm/limits.h"

namespace monopod::wasm::jit {

using namespace asmjit;

namespace {

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

std::unique_ptr<Lowering> make_optimising_compiler(NativeCode& native, const Job& job, CodeHolder& code) { return std::make_unique<FunctionCompiler>(native, job, code); }

FunctionCompiler::FunctionCompiler(NativeCode& native, const Job& job, CodeHolder& code)
    : CompilerOwner(code), Lowering(native, job, code, compiler_) {}

// ---- registers and operands

FunctionCompiler::Value FunctionCompiler::pop() {
  Value v = stack_.back();
  stack_.pop_back();
  return v;
}

BaseReg FunctionCompiler::in_register(const Value& v) {
  if (v.kind == Value::Kind::kRegister) return v.reg;
  if (v.kind == Value::Kind::kLocal && locals_[v.local].isValid()) return locals_[v.local];
  BaseReg d = make_register(v.type);
  move(d, v);
  return d;
}

void FunctionCompiler::load(const BaseReg& to, const Value& from) {
  if (from.kind == Value::Kind::kLocal && !locals_[from.local].isValid()) return load_slot(to, from.type, aside_[from.local]);
  move_register(from.type, to, from.kind == Value::Kind::kRegister ? from.reg : locals_[from.local]);
}

BaseReg FunctionCompiler::argument(const Value& v) {
  if (v.kind == Value::Kind::kRegister) return v.reg;
  BaseReg d = make_register(v.type);
  move(d, v);
  return d;
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
  if (!locals_[local].isValid()) return store_slot(aside_[local], local_types_[local], in_register(v));
  if (v.kind == Value::Kind::kRegister && v.reg.id() == locals_[local].id()) return;  // made there
  move(locals_[local], v);
}

// ---- registers that callees preserve. asmjit gives an argument the register that it comes in, and knows no other way to be told. So there are arguments that
// nobody passes, in those registers; a move to itself, which is never emitted, makes one alive at the function's entry, where its real value replaces it.

void FunctionCompiler::add_wishes(FuncSignatureBuilder& signature) {
  first_wish_ = signature.argCount();
  wishes_ = std::min<u32>(std::size(target::kPreserved) - (hands_on_memory() ? 1 : 0), Globals::kMaxFuncArgs - first_wish_);  // that is the last of them
  for (u32 i = 0; i < wishes_; ++i) signature.addArg(TypeId::kUInt64);
}

void FunctionCompiler::place_wishes() {
  for (u32 i = 0; i < wishes_; ++i) function_->detail().arg(first_wish_ + i).initReg(target::kGpType, target::kPreserved[i].id(), TypeId::kUInt64);
}

// In a function that calls nothing parameters stay where they came.
void FunctionCompiler::drop_copies() {
  for (const Copy& c : copies_) {
    compiler_.removeNode(c.node);
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
  if (memory_used_ && !hands_on_memory()) wanted.emplace_back(memory_weight_, memory_);
  if (native_.fuel && !calls_) wanted.emplace_back(fuel_weight_, fuel_);
  for (std::size_t i = 0; i < locals_.size(); ++i)
    if (local_weights_[i] != 0 && locals_[i].isValid() && is_integer(local_types_[i]) && (calls_ || by_slots_ || i >= type_.params.size())) wanted.emplace_back(local_weights_[i], locals_[i].as<Gp>());
  std::ranges::stable_sort(wanted, std::greater<>(), &std::pair<u64, Gp>::first);
  BaseNode* last = compiler_.setCursor(function_);
  for (u32 i = 0; i < wishes_ && i < wanted.size(); ++i) {
    function_->setArg(first_wish_ + i, wanted[i].second);
    cc_.mov(wanted[i].second, wanted[i].second);
  }
  compiler_.setCursor(last);
}

// ---- traps

target::Gp FunctionCompiler::memory_base() {
  memory_used_ = true;
  used(memory_weight_);
  return memory_;
}

void FunctionCompiler::place(Trap trap) {
  Place p{.wasm = wasm_, .trap = trap, .catches = static_cast<std::uint8_t>(trap == Trap::kNone && catches())};
  compiler_.comment(reinterpret_cast<const char*>(&p), sizeof p);
}

// ---- the whole

bool FunctionCompiler::start() {
  if (!read_locals(kCompiledLocalsMax)) return false;
  look_ahead();
  FuncSignatureBuilder signature(target::kCallConv);
  if (by_slots_) {
    signature.addArg(TypeId::kUInt64);
    signature.addArg(TypeId::kUInt64);
  } else {
    describe(type_, signature);
  }
  if (hands_on_memory()) signature.addArg(TypeId::kUInt64);
  add_wishes(signature);
  function_ = compiler_.addFunc(signature);
  place_vm(function_->detail());
  if (hands_on_memory()) place_memory(function_->detail(), first_wish_ - 1);
  place_wishes();
  prepare_frame();
  // Arguments keep the register they come in, and would be saved around every call: what lives longer has one of its own.
  auto argument = [this](std::size_t index, ValType type) {
    Value given{.type = type, .reg = make_register(type)};
    function_->setArg(index, given.reg);
    BaseReg kept = make_register(type);
    move(kept, given);
    copies_.push_back({index, kept, compiler_.cursor()});
    return kept;
  };
  vm_ = make_int();
  function_->setArg(0, vm_);
  if (by_slots_) slots_ = argument(1, kI64).as<Gp>();
  put_aside();
  for (std::size_t i = 0; i < local_types_.size(); ++i) {
    bool comes = !by_slots_ && i < type_.params.size();
    if (aside_[i].hasBase()) {
      locals_.emplace_back();
      if (comes) argument_aside(i);
      continue;
    }
    locals_.push_back(comes ? argument(i + 1, local_types_[i]) : make_register(local_types_[i]));
  }
  local_weights_.resize(locals_.size());
  memory_ = make_int();
  if (native_.fuel) {
    fuel_ = make_int();
    load_fuel();
  }
  if (tries_ahead_) {
    Gp sp = make_int();
    kept_sp_ = compiler_.newStack(8, 8);
    load_word(sp, at(vm_, offsetof(Vm, machine)));
    load_word(sp, at(sp, offsetof(Machine, sp)));
    store_word(kept_sp_, sp);
  }
  entry_ = compiler_.cursor();
  if (job_.loop != Job::kEntry) {
    loop_entry_ = cc_.newLabel();
    jump(loop_entry_);
  } else {
    u32 from = 0;
    for (std::size_t i = 0; i < local_types_.size(); ++i) {
      if (i >= type_.params.size()) set_local(static_cast<u32>(i), {.kind = Value::Kind::kConst, .type = local_types_[i]});
      else if (by_slots_) load_local(i, from);
      from += slots_of(local_types_[i]);
    }
    charge();
  }
  return supported_;
}

// Locals that are used less than calls are made and find no preserved register would be saved, and loaded again, around each of the calls: they are in memory.
void FunctionCompiler::put_aside() {
  aside_.resize(local_types_.size());
  std::vector<u32> integers;
  auto set_aside = [this](u32 i) { aside_[i] = compiler_.newStack(slots_of(local_types_[i]) * 8, slots_of(local_types_[i]) * 8); };
  for (u32 i = 0; i < local_types_.size(); ++i) {
    if (is_integer(local_types_[i])) integers.push_back(i);
    else if (local_uses_[i] < calls_ahead_) set_aside(i);
  }
  std::ranges::stable_sort(integers, std::greater<>(), [this](u32 i) { return local_uses_[i]; });
  for (std::size_t k = std::size(target::kPreserved) - 1; k < integers.size(); ++k)
    if (local_uses_[integers[k]] < calls_ahead_) set_aside(integers[k]);
}

void FunctionCompiler::argument_aside(std::size_t i) {
  BaseReg given = make_register(local_types_[i]);
  function_->setArg(i + 1, given);
  store_slot(aside_[i], local_types_[i], given);
}

void FunctionCompiler::load_local(std::size_t i, u32 slot) {
  BaseReg to = locals_[i].isValid() ? locals_[i] : make_register(local_types_[i]);
  load_slot(to, local_types_[i], at(slots_, slot * 8));
  if (!locals_[i].isValid()) store_slot(aside_[i], local_types_[i], to);
}

// Everything that is alive at the loop's head, from where the interpreter keeps it. Its frame: locals, the return address, operands.
void FunctionCompiler::begin_loop_entry(const Block& loop) {
  jump(loop.start);
  cc_.bind(loop_entry_);
  u32 slot = 0;
  for (std::size_t i = 0; i < locals_.size(); ++i) {
    load_local(i, slot);
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
  out.has_loops = has_loops_;
  settle_charge();
  BaseNode* way = compiler_.cursor();
  emit_foreign_calls();
  emit_trap_sites();
  wasm_ = module_.functions[job_.function].body.from;
  Label too_deep;
  BaseNode* last = compiler_.cursor();
  if (calls_ || !tails_.empty()) {
    too_deep = cc_.newLabel();
    cc_.bind(too_deep);
    place(Trap::kStack);
    fail_here();
    last = compiler_.cursor();
  }
  cold_ = way->next();
  compiler_.setCursor(entry_);
  if (too_deep.isValid()) {  // a function that calls nothing fits into what is kept free; tail calls alone may make a loop
    check_stack(too_deep);
  }
  if (hands_on_memory() && (memory_used_ || calls_)) function_->setArg(first_wish_ - 1, memory_);
  if (memory_used_ && !hands_on_memory()) load_word(memory_, at(vm_, offsetof(Vm, memory_base)));
  compiler_.setCursor(last);
  grant_wishes();
  compiler_.endFunc();
  emit_jump_tables();
  assembler_ = std::make_unique<PlacingAssembler>(code_, out.places);
  assembler_->addEncodingOptions(EncodingOptions::kOptimizedAlign);  // one long instruction, where it would be many that do nothing
  bool good = compiler_.runPasses() == kErrorOk;
  if (good) emit_tails();
  if (good) describe_frame(out);
  if (!good || compiler_.serializeTo(assembler_.get()) != kErrorOk || code_.flatten() != kErrorOk || code_.resolveUnresolvedLinks() != kErrorOk) unsupported();
}

}  // namespace monopod::wasm::jit
