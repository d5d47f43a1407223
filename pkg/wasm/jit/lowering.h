// What every compiler of one function does alike: it reads instruction by instruction, keeps what is put off on a stack of operands, and turns operations into the
// processor's instructions. Where values live is what compilers differ in: FunctionCompiler (compiler.h) asks asmjit for virtual registers, which its Compiler
// places afterwards; BaselineCompiler (x86/baseline.h) places them while it reads.
// What is cheap is put off: local.get and constants emit nothing, a comparison waits for the branch on it, a small shift for the sum it scales.
// It follows the validator's control flow: code that nothing reaches is skipped as the interpreter skips it, so that both count the same fuel.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "wasm/determinism.h"
#include "wasm/jit/target.h"
#include "wasm/jit/tier.h"
#include "wasm/ops.h"

namespace monopod::wasm::jit {

Condition negated(Condition c);

class Lowering {
 public:
  virtual ~Lowering() = default;
  virtual bool run(CompiledFunction& out) = 0;  // false: it cannot be compiled

 protected:
  using u32 = std::uint32_t;
  using u64 = std::uint64_t;
  using Gp = target::Gp;
  using Vec = target::Vec;
  using Mem = target::Mem;

  static constexpr u32 kNoLocal = ~0u;
  struct Value {
    // kScaled: the register or local, times 2^shift, of 32 bits. kFlags: only on top, and what comes next takes it. kSlot: in the frame (of the baseline compiler).
    enum class Kind : std::uint8_t { kRegister, kLocal, kConst, kScaled, kFlags, kSlot };
    Kind kind = Kind::kRegister;
    ValType type;
    std::uint8_t shift = 0;
    Condition condition;
    u32 local = kNoLocal;
    u32 home = 0, slot = 0;  // its place in the frame, where it has one; of kSlot: where it is
    u64 bits[2] = {};
    asmjit::BaseReg reg;
  };
  struct TrapSite {
    asmjit::Label label;
    u32 wasm = 0;
    Trap trap{};
  };
  struct ForeignCall {
    asmjit::Label label, back;
    Gp object, target;
    u32 type_index = 0;
  };
  // How a tail call is made, once the callee's arguments are where it takes them and the frame is gone.
  struct TailSite {
    const void* stub = nullptr;      // what is between, which goes on to vm->tail_target
    u32 words = 0;                   // on the stack, from vm->tail_words
    u32 slots = 0, room = 0;         // of what the stub may have to move
    u32 function = kNoLocal;         // without a stub: of this module; else vm->tail_target again
    bool own = false;                // the one that is compiled
  };
  struct Try {
    asmjit::Label pad;  // where what is thrown in it arrives, in vm->caught
    Reader clauses;
    bool used = false;
  };
  struct JumpTable {
    asmjit::Label at;
    std::vector<asmjit::Label> targets;
  };

  Lowering(NativeCode& native, const Job& job, asmjit::CodeHolder& code, asmjit::BaseEmitter& emitter);

  // Where values live.
  virtual asmjit::BaseReg make_register(ValType type) = 0;
  virtual asmjit::BaseReg in_register(const Value& v) = 0;
  virtual void load(const asmjit::BaseReg& to, const Value& from) = 0;  // from is in a register, a local or in the frame
  virtual Gp fixed(const Gp& real) = 0;            // a register for what the processor takes there only; asked for before operands are popped
  virtual void release(const asmjit::BaseReg&) {}  // its value is not needed any more in this instruction
  virtual void settle_local(u32 local) = 0;        // operands that are this local get registers of their own
  virtual void set_local(u32 local, const Value& v) = 0;
  virtual void used_local(u32) {}
  virtual Gp memory_base() = 0;
  virtual Mem constant(const void* bytes, std::size_t count) = 0;
  virtual void push(const Value& v) = 0;
  virtual Value pop() = 0;

  // Places, control flow, calls.
  virtual void place(Trap trap) = 0;
  virtual void charge() = 0;
  virtual void store_fuel() {}  // before what may spend some
  virtual void load_fuel() {}   // and after it
  virtual void begin_block(std::uint8_t opcode) = 0;
  virtual void start_else() = 0;
  virtual void end_block() = 0;
  virtual void branch(u32 depth) = 0;
  virtual void branch_if(u32 depth) = 0;
  virtual void branch_table() = 0;
  virtual void emit_return() = 0;
  virtual void settle_for(u32 /*depth*/) {}  // what a branch there takes, on the path that does not go there too
  // helper(vm, what comes before, the topmost operands); invalid where it returns nothing.
  virtual Gp help(const void* helper, std::initializer_list<Value> before, u32 operands, bool returns) = 0;
  // target: a register, address, label, or entry_at(), with a compiled function of the type, whose arguments are the topmost operands.
  virtual void invoke(const asmjit::Operand& target, const FuncType& type) = 0;
  // The frame goes, and the callee, whose arguments are the topmost operands, takes its place.
  virtual void tail_invoke(const TailSite& site, const FuncType& type) = 0;
  virtual asmjit::Operand own_entry() = 0;
  virtual Mem host_area(u32 slots) = 0;  // of the frame, for this instruction
  virtual Mem kept_sp() = 0;             // the machine's stack pointer at the entry, where there are try blocks

  // lowering.cc
  Gp make_int() { return make_register(kI64).as<Gp>(); }
  Vec make_vec(ValType type = kV128) { return make_register(type).as<Vec>(); }
  void push_register(ValType type, const asmjit::BaseReg& reg) { push({.type = type, .reg = reg}); }
  static Value constant_value(u64 bits) { return {.kind = Value::Kind::kConst, .type = kI64, .bits = {bits, 0}}; }
  void push_const(ValType type, u64 bits) { push({.kind = Value::Kind::kConst, .type = type, .bits = {bits, 0}}); }
  Gp gp(const Value& v) { return in_register(v).as<Gp>(); }
  Vec vec(const Value& v) { return in_register(v).as<Vec>(); }
  asmjit::BaseReg result_register(ValType type);  // of the local that is set next, if one is
  Gp result_gp(ValType type) { return result_register(type).as<Gp>(); }
  Gp scaled_index(const Value& v) { return v.local != kNoLocal ? locals_[v.local].as<Gp>() : v.reg.as<Gp>(); }
  Gp result_over(const Value& operand);  // or of the operand, where nobody else has it
  Vec result_vec(ValType type) { return result_register(type).as<Vec>(); }
  Mem constant64(u64 bits) { return constant(&bits, sizeof bits); }
  Mem constant32(u32 bits) { return constant(&bits, sizeof bits); }
  Mem constant128(u64 low, u64 high) {
    u64 both[2] = {low, high};
    return constant(both, sizeof both);
  }
  static Mem at(const Gp& base, std::size_t offset, u32 size = 8) { return target::at(base, offset, size); }
  void unsupported() { supported_ = false; }
  bool read_locals(u32 max);  // their types; false where there are more
  // Over the body: how often locals are used and calls are made, more inside of loops.
  void look_ahead();
  virtual void foresee_call(const FuncType&, bool /*imported*/) {}
  void step();
  void simple(u32 code, const Op& op);
  void check_interruption();
  void push_condition(Condition c);
  void branch_where(Condition c, u32 depth);  // by branch(), behind a jump over it
  void branch_on_null(u32 depth, bool when_not_null);
  asmjit::Label trap_label(Trap trap);  // a jump there traps as the current instruction
  void emit_trap_sites();
  void emit_jump_tables();

  // <processor>/emit.cc
  void move(const asmjit::BaseReg& to, const Value& from);  // leaves the flags alone
  void move_register(ValType type, const asmjit::BaseReg& to, const asmjit::BaseReg& from);
  void load_word(const Gp& to, const Mem& from);
  void store_word(const Mem& to, const Gp& from);
  void load_element(const Gp& to, const Gp& data, const Gp& index);  // of words
  void store_element(const Gp& data, const Gp& index, const Gp& from);
  void add_bytes(const Gp& to, const Gp& from, u32 bytes);
  void shift_right(const Gp& r, u32 count);
  void address_of(const Gp& to, const Mem& area);
  void load_slot(const asmjit::BaseReg& to, ValType type, Mem from);
  void store_slot(Mem to, ValType type, const asmjit::BaseReg& from);
  void jump(const asmjit::Label& to);
  void jump_if(Condition c, const asmjit::Label& to);
  void jump_unless_below(const Gp& index, u32 count, const asmjit::Label& to);  // of 32 bits
  void fail_here();
  void trap_if(target::CondCode code, Trap trap);
  void trap_if_zero(const Gp& r, Trap trap);
  void check_flag(const Gp& flag, Trap trap);  // of 32 bits
  void check_stack(const asmjit::Label& too_deep);
  void read(const Gp& at);
  void compare_with(const Gp& left, const Mem& right);
  void compare_with(const Mem& left, u32 right);  // of 32 bits; nothing is emitted before the access that may fail
  void jump_if_caught(const asmjit::Label& to);
  void jump_if_foreign(const Gp& object, const asmjit::Label& to);  // a function that is not of this instance
  Condition condition_of(const Value& v);
  Condition is_zero(const Gp& r, ValType type);
  void select(ValType type);
  asmjit::Operand entry_at(const Gp& natives, u32 function);  // for invoke()
  void emit_tail_jump(const TailSite& site);                  // as the last instruction of a function: registers are real ones
  // a64 alone
  Mem within_reach(const Mem& m, u32 bytes);      // m, or the same address otherwise where an instruction for that many bytes cannot have it
  void compare_number(const Gp& left, u64 bits);  // left: as wide as it is compared
  Gp address_of_local(u32 local);                 // in memory 0; kept as long as nothing joins, calls, or sets the local

  // exceptions.cc
  void begin_try();                           // from the clauses on
  bool end_try(const asmjit::Label& behind);  // operands are as they were at its start; false: nothing arrives, so nothing was emitted
  void catch_clauses(Reader clauses, const Gp& exception);
  void throw_tag(u32 tag);
  void throw_reference();
  void check_caught();  // behind a call
  void raise();         // what machine.exception says, or the trap that machine.trap says
  Value place_value() const { return constant_value(u64{wasm_} << 32 | job_.function); }
  bool catches() const { return !tries_.empty() && !leaves_; }
  const asmjit::Label& catcher() { return tries_.back().used = true, tries_.back().pad; }

  // lowering_calls.cc
  Gp host_arguments(const FuncType& type);  // the topmost operands as slots; their address
  bool call(u32 function);
  void call_import(u32 function);
  bool call_indirect();
  bool call_reference();
  void tail_call(std::uint8_t code);
  TailSite tail_site(const FuncType& callee) const;
  void tail_word(const Value& v, u32 word);  // to vm->tail_words
  Gp table_function(u32 type_index, u32 table_index);
  void call_object(const Gp& object, u32 type_index, const FuncType& type);
  Gp target_of(const Gp& object, u32 type_index);
  void emit_foreign_calls();

  // numeric.cc: which operation an instruction is
  bool scalar(u32 code);
  void integer_operation(u32 k, ValType type);
  bool conversion(u32 code);
  bool vector(u32 code, const Op& op);
  bool vector_access(u32 code, const Op& op);

  // scalar.cc
  void canonicalise(NanShape shape);  // of the operand on top, which has a register of its own
  void compare(u32 code, bool wide);
  void compare_float(u32 code, bool is_double);
  void alu(asmjit::InstId id, ValType type, bool commutative);
  void alu(asmjit::InstId id, ValType type, bool commutative, Value a, Value b);
  void add(ValType type);
  void multiply(ValType type);
  void shift(u32 kind, ValType type);
  void divide(u32 kind, ValType type);
  void count_bits(u32 kind, ValType type);  // clz, ctz, popcnt
  void extend(std::uint8_t bits, ValType from, ValType to);
  void float_operation(u32 k, ValType type);  // from abs on, as f32's and f64's are numbered alike
  void float_binary(asmjit::InstId id, ValType type);
  void float_min_max(bool is_max, ValType type);
  void float_unary(asmjit::InstId id, ValType type);
  void copy_sign(ValType type);             // a64 alone
  void float_sign(u32 kind, ValType type);  // abs, neg, copysign
  void float_round(u32 mode, ValType type);
  void truncate(ValType from, ValType to, bool is_signed, bool saturates);
  Vec as_double(const Value& v);
  void convert_unsigned(const Gp& from, const Vec& to, bool is_double);
  void convert(u32 code);
  void wrap();
  void change_width(ValType to);  // of a float
  void bits_of_float(ValType to);
  void float_of_bits(ValType to);

  // access.cc
  bool memory_access(u32 code, const Op& op);
  Mem address(u32 memory, u64 offset, const Value& at, u32 bytes);
  bool load_into_next(u32 code, const Mem& from, ValType type);
  void load_memory(u32 code, const Mem& from, ValType type);
  void store_memory(u32 code, const Mem& to, const Value& v);
  void global_get(u32 index);
  void global_set(u32 index);
  void memory_size(u32 index);
  void memory_grow(u32 index);
  void table_access(std::uint8_t code);
  bool misc();
  Gp object(std::size_t list, u32 index);  // vm.list[index]
  Gp table(u32 index);

  // simd.cc
  bool one_instruction(u32 code);  // false: it takes more
  void load_vector(u32 code, const Mem& from, u32 width);  // width: of lanes, 8 << width bits
  void store_vector(const Mem& to, const Vec& s);
  void load_lane(const Mem& from, const Vec& s, u32 lane, u32 width);
  void store_lane(const Mem& to, const Vec& s, u32 lane, u32 width);
  void shuffle();
  void splat_lane(u32 code);
  void extract_lane(u32 code);
  void replace_lane(u32 code);
  Vec ones();
  Vec zeros();
  Vec upper_half(const Vec& s);
  bool compare_lanes(u32 kind, u32 width);
  void compare_floats(u32 kind, bool is_double);
  void truth(target::CondCode code);               // x86 alone
  void truth(const Vec& v, Condition::Kind kind);  // a64 alone
  void any_true();
  void all_true(u32 width);
  void bitmask(u32 width);
  void shift_lanes(u32 kind, u32 width);
  void multiply_extended(u32 kind, u32 width);
  void multiply_64();
  void min_max_floats(bool is_max, bool is_double);
  Vec relaxed_dot(const Vec& a, const Vec& b);
  bool special_unary(u32 code);
  bool special_binary(u32 code);
  bool special_ternary(u32 code);

  NativeCode& native_;
  const ModuleData& module_;
  const Job& job_;
  const FuncType& type_;
  const bool by_slots_;
  asmjit::CodeHolder& code_;
  target::Emitter& cc_;  // of asmjit's Compiler or Assembler: both take the same calls
  Reader reader_;
  Gp vm_;
  std::vector<ValType> local_types_;
  std::vector<asmjit::BaseReg> locals_;  // invalid: in the frame
  u32 operand_slot_ = 0;                 // of the interpreter's frame: where operands begin
  std::vector<Value> stack_;
  std::vector<TrapSite> traps_;
  std::vector<JumpTable> tables_;
  std::vector<ForeignCall> foreign_calls_;
  std::vector<u64> local_uses_;  // what look_ahead() found
  u64 calls_ahead_ = 0;
  bool tails_ahead_ = false, tries_ahead_ = false;
  std::vector<Try> tries_;  // open ones
  bool leaves_ = false;     // the call ends the function: no try block is around it
  Gp address_;  // a64 alone: of memory 0 at address_local_
  u32 address_local_ = kNoLocal;
  u32 charged_ = 0;  // instructions of the block so far
  u32 wasm_ = 0;     // where in the module
  bool has_loops_ = false;  // what look_ahead() found, too
  bool dead_ = false;
  bool supported_ = true;
};

std::unique_ptr<Lowering> make_optimising_compiler(NativeCode& native, const Job& job, asmjit::CodeHolder& code);
std::unique_ptr<Lowering> make_baseline_compiler(NativeCode& native, const Job& job, asmjit::CodeHolder& code);  // where target::kBaseline

inline constexpr std::uint32_t kFrameBytesMax = 64 << 10;  // a quarter of what is kept for the host: entries ask before they push

}  // namespace monopod::wasm::jit
