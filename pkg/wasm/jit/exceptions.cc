// Exceptions. What is thrown in a try block's own instructions jumps to its landing pad. What comes out of a call finds its frame by the tables that backtraces are
// made of (NativeCode::on_trap): the call returns as if nothing had happened, but that vm->caught is set, which only calls that stand in a try block ask for. So
// nobody else pays for that there are exceptions.
#include "wasm/jit/helpers.h"
#include "wasm/jit/lowering.h"

namespace monopod::wasm::jit {

using namespace asmjit;

void Lowering::begin_try() {
  // Where fuel is counted, what the clauses lead to is reached, as in the interpreter, whether anything throws or not: blocks begin there.
  tries_.push_back({.pad = cc_.newLabel(), .clauses = reader_, .used = native_.fuel});
  for (u32 n = reader_.u32(); n-- > 0;) {
    if (reader_.byte() < 2) reader_.u32();
    reader_.u32();
  }
}

bool Lowering::end_try(const Label& behind) {
  Try closed = tries_.back();
  tries_.pop_back();
  if (!closed.used) return false;
  bool dead = dead_;
  if (!dead) jump(behind);
  cc_.bind(closed.pad);
  Gp exception = make_int(), t = make_int(), machine = make_int();
  load_word(exception, at(vm_, offsetof(Vm, caught)));
  move(t, constant_value(0));
  store_word(at(vm_, offsetof(Vm, caught)), t);
  load_word(machine, at(vm_, offsetof(Vm, machine)));
  load_word(t, kept_sp());
  store_word(at(machine, offsetof(Machine, sp)), t);
  release(t);
  release(machine);
  catch_clauses(closed.clauses, exception);
  dead_ = dead;
  return true;
}

// The first one that is for it; none: it goes on.
void Lowering::catch_clauses(Reader clauses, const Gp& exception) {
  for (u32 n = clauses.u32(); n-- > 0;) {
    std::uint8_t kind = clauses.byte();  // 0, 1: of a tag; 2, 3: of any; 1, 3: with the reference
    std::size_t below = stack_.size();
    Label next = cc_.newLabel();
    if (kind < 2) {
      u32 tag = clauses.u32(), slot = 0;
      Gp t = object(offsetof(Vm, tags), tag);
      compare_with(t, at(exception, offsetof(ExceptionObject, tag)));
      jump_if({.code = target::kNotEqual}, next);
      load_word(t, at(exception, offsetof(ExceptionObject, values)));
      for (ValType type : module_.registry->type(module_.tags[tag]).params) {
        BaseReg r = make_register(type);
        load_slot(r, type, at(t, std::size_t{slot} * 8));
        push_register(type, r);
        release(r);
        slot += slots_of(type);
      }
      release(t);
    }
    if ((kind & 1) != 0) push_register(make_ref(kHeapExn, false), exception);
    branch(clauses.u32());
    dead_ = false;
    while (stack_.size() > below)
      if (Value v = pop(); v.kind == Value::Kind::kRegister && !(is_integer(v.type) && v.reg.id() == exception.id())) release(v.reg);
    if (kind >= 2) return;
    cc_.bind(next);
  }
  if (catches()) {
    store_word(at(vm_, offsetof(Vm, caught)), exception);
    return jump(catcher());
  }
  store_fuel();
  help(reinterpret_cast<const void*>(&help_rethrow), {{.type = kI64, .reg = exception}}, 0, false);
  raise();
}

void Lowering::raise() {
  help(reinterpret_cast<const void*>(&monopod_wasm_raise), {}, 0, false);
  place(Trap::kNone);
  fail_here();
}

void Lowering::throw_tag(u32 tag) {
  Gp slots = host_arguments(module_.registry->type(module_.tags[tag]));
  store_fuel();
  check_flag(help(reinterpret_cast<const void*>(&help_throw), {constant_value(u64{catches()} << 32 | tag), {.type = kI64, .reg = slots}, place_value()}, 0, true), Trap::kLimit);
  if (catches()) jump(catcher());
  else raise();
  dead_ = true;
}

void Lowering::throw_reference() {
  Gp reference = gp(pop());
  trap_if_zero(reference, Trap::kNullReference);
  store_fuel();
  help(reinterpret_cast<const void*>(&help_throw_reference), {constant_value(catches()), {.type = kI64, .reg = reference}, place_value()}, 0, false);
  if (catches()) jump(catcher());
  else raise();
  dead_ = true;
}

void Lowering::check_caught() {
  if (catches()) jump_if_caught(catcher());
}

}  // namespace monopod::wasm::jit
