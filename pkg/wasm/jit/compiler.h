// One function to machine code. Every local, and every operand that is in no local and no constant, is a virtual register of asmjit's Compiler, which gives out
// the real ones. What is cheap is put off: local.get and constants emit nothing, a comparison waits for the branch on it, a small shift for the sum it scales.
// It follows the validator's control flow: code that nothing reaches is skipped as the interpreter skips it, so that both count the same fuel.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "wasm/jit/target.h"
#include "wasm/jit/tier.h"
#include "wasm/ops.h"

namespace monopod::wasm::jit {

Condition negated(Condition c);

class FunctionCompiler {
 public:
  FunctionCompiler(NativeCode& native, const Job& job, asmjit::CodeHolder& code);
  bool run(CompiledFunction& out);

 private:
  using u32 = std::uint32_t;
  using u64 = std::uint64_t;
  using Gp = target::Gp;
  using Vec = target::Vec;
  using Mem = target::Mem;

  struct Value {
    // kScaled: the register or local, times 2^shift, of 32 bits. kFlags: only on top, and what comes next takes it.
    enum class Kind : std::uint8_t { kRegister, kLocal, kConst, kScaled, kFlags };
    Kind kind = Kind::kRegister;
    ValType type;
    std::uint8_t shift = 0;
    Condition condition;
    u32 local = kNoLocal;
    u64 bits[2] = {};
    asmjit::BaseReg reg;
  };
  static constexpr u32 kNoLocal = ~0u;

  struct Block {
    std::uint8_t opcode = 0;
    asmjit::Label start, end, other;  // of loops; behind it; else
    u32 height = 0;                   // operands below
    std::vector<ValType> params, results;
    std::vector<asmjit::BaseReg> in, out;  // registers of loops' parameters, and of results
    std::vector<Value> given;              // parameters of an `if`, for its else
    std::vector<asmjit::Label> pads;       // where jump tables enter its end
    bool branched_to = false, has_else = false;
  };
  struct TrapSite {
    asmjit::Label label;
    u32 wasm = 0;
    Trap trap{};
  };
  struct JumpTable {
    asmjit::Label at;
    std::vector<asmjit::Label> targets;
  };

  // compiler.cc: registers and operands
  asmjit::BaseReg make_register(ValType type);
  Gp make_int() { return cc_.newUInt64(); }
  void move(const asmjit::BaseReg& to, const Value& from);  // leaves the flags alone
  void push(const Value& v) { stack_.push_back(v); }
  void push_register(ValType type, const asmjit::BaseReg& reg) { stack_.push_back({.type = type, .reg = reg}); }
  void push_const(ValType type, u64 bits) { stack_.push_back({.kind = Value::Kind::kConst, .type = type, .bits = {bits, 0}}); }
  Value pop();
  asmjit::BaseReg in_register(const Value& v);
  asmjit::BaseReg argument(const Value& v);  // of a call: a copy, or else what is kept for later would be saved and loaded around it
  Gp gp(const Value& v) { return in_register(v).as<Gp>(); }
  Vec vec(const Value& v) { return in_register(v).as<Vec>(); }
  asmjit::BaseReg result_register(ValType type);  // of the local that is set next, if one is
  Gp result_gp(ValType type) { return result_register(type).as<Gp>(); }
  Gp scaled_index(const Value& v) { return v.local != kNoLocal ? locals_[v.local].as<Gp>() : v.reg.as<Gp>(); }
  Gp result_over(const Value& operand);  // or of the operand, where nobody else has it
  Vec result_vec(ValType type) { return result_register(type).as<Vec>(); }
  void settle_local(u32 local);  // operands that are this local get registers of their own
  void settle_all();             // so do all that are locals
  void set_local(u32 local, const Value& v);
  Mem constant(const void* bytes, std::size_t count) { return cc_.newConst(asmjit::ConstPoolScope::kLocal, bytes, count); }
  Mem constant64(u64 bits) { return constant(&bits, sizeof bits); }
  Mem constant32(u32 bits) { return constant(&bits, sizeof bits); }
  Mem constant128(u64 low, u64 high) {
    u64 both[2] = {low, high};
    return constant(both, sizeof both);
  }
  static Mem at(const Gp& base, std::size_t offset, u32 size = 8) { return target::at(base, offset, size); }
  bool supported(ValType type) const { return !type.is_ref() || (type.heap() != kHeapExn && type.heap() != kHeapNoExn); }

  // traps and places
  void place(Trap trap);
  asmjit::Label trap_label(Trap trap);  // a jump there traps as the current instruction

  // <processor>/emit.cc
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
  void jump_by_table(const Gp& index, const asmjit::Label& table, asmjit::JumpAnnotation* annotation);
  void fail_here();
  void trap_if(target::CondCode code, Trap trap);
  void trap_if_zero(const Gp& r, Trap trap);
  void check_flag(const Gp& flag, Trap trap);  // of 32 bits
  void check_stack(const asmjit::Label& too_deep);
  void read(const Gp& at);
  void compare_with(const Gp& left, const Mem& right);
  void compare_with(const Mem& left, u32 right);  // of 32 bits; nothing is emitted before the access that may fail
  Condition condition_of(const Value& v);
  Condition is_zero(const Gp& r);
  void select(ValType type);
  void prepare_frame();
  void describe_frame(CompiledFunction& out);
  void charge();
  void settle_charge();
  asmjit::InvokeNode* invoke_node(const asmjit::Operand& target, const asmjit::FuncSignatureBuilder& signature);  // target: a register, label, address, or entry_at()
  asmjit::Operand entry_at(const Gp& natives, u32 function);  // for that
  void callee_or(const Gp& target, const Gp& object_at, const Gp& foreign);  // target: foreign where the function is not of this instance

  // a64/emit.cc alone
  void tidy_instructions();
  Mem within_reach(const Mem& m, u32 bytes);      // m, or the same address otherwise where an instruction for that many bytes cannot have it
  void compare_number(const Gp& left, u64 bits);  // left: as wide as it is compared
  Gp address_of_local(u32 local);                 // in memory 0; kept as long as nothing joins, calls, or sets the local

  // compiler.cc: the whole
  bool start();
  void begin_loop_entry(const Block& loop);
  void load_fuel();
  void step();
  void simple(u32 code, const Op& op);
  void finish(CompiledFunction& out);
  void unsupported() { supported_ = false; }

  // What lives across calls is best kept in registers that callees preserve.
  void used(u64& weight) { weight += u64{1} << (3 * std::min<u32>(loop_depth_, 8)); }
  void add_wishes(asmjit::FuncSignatureBuilder& signature);
  void place_wishes();
  void grant_wishes();
  void drop_copies();
  bool keep_vm_register();

  // control.cc
  bool read_block_type(Block& block);
  void begin_block(std::uint8_t opcode);
  void start_else();
  void end_block();
  void branch(u32 depth);
  void branch_if(u32 depth);
  void branch_table();
  void emit_return();
  void move_all(std::span<const asmjit::BaseReg> to, std::span<const Value> from);
  void move_results(Block& block);
  void push_condition(Condition c);
  Block& block_at(u32 depth) { return blocks_[blocks_.size() - 1 - depth]; }

  // scalar.cc
  bool scalar(u32 code, const Op& op);
  void compare(u32 code, bool wide);
  void compare_float(u32 code, bool is_double);
  void alu(asmjit::InstId id, ValType type, bool commutative);
  void add(ValType type);
  void multiply(ValType type);
  void shift(u32 kind, ValType type);
  void divide(u32 kind, ValType type);
  void count_bits(asmjit::InstId id, ValType type);
  void extend(std::uint8_t bits, ValType from, ValType to);
  void float_binary(asmjit::InstId id, ValType type);
  void float_min_max(bool is_max, ValType type);
  void float_unary(asmjit::InstId id, ValType type);  // a64 alone
  void copy_sign(ValType type);             // the same
  void float_sign(u32 kind, ValType type);  // abs, neg, copysign
  void float_round(u32 mode, ValType type);
  void truncate(ValType from, ValType to, bool is_signed, bool saturates);
  Vec as_double(const Value& v);
  void convert_unsigned(const Gp& from, const Vec& to, bool is_double);
  void convert(u32 code);

  // access.cc
  bool memory_access(u32 code, const Op& op);
  Mem address(u32 memory, u64 offset, const Value& at, u32 bytes);
  bool load_into_next(u32 code, const Mem& from, ValType type);
  void load(u32 code, const Mem& from, ValType type);
  void store(u32 code, const Mem& to, const Value& v);
  void global_get(u32 index);
  void global_set(u32 index);
  void memory_size(u32 index);
  void table_access(std::uint8_t code);
  bool misc();
  asmjit::InvokeNode* help(const void* helper, u32 arguments, bool returns);
  Gp object(std::size_t list, u32 index);  // vm.list[index]
  Gp table(u32 index);

  // calls.cc
  bool call(u32 function);
  void call_import(u32 function);
  bool call_indirect();
  bool call_reference();
  void call_object(const Gp& object, u32 type_number, const FuncType& type, std::vector<Value>& arguments);
  std::vector<Value> pop_arguments(const FuncType& type);
  void invoke(const asmjit::Operand& target, const FuncType& type, const std::vector<Value>& arguments);
  void store_slots(const Mem& to, const std::vector<Value>& values);
  void load_slots(const Mem& from, const FuncType& type);
  Mem slot(const Mem& base, u32 index, ValType type);
  Mem host_area(u32 slots);

  // simd.cc
  bool vector(u32 code, const Op& op);
  bool vector_access(u32 code, const Op& op);
  void shuffle();
  void splat_lane(u32 code);
  void extract_lane(u32 code);
  void replace_lane(u32 code);
  Vec ones();
  Vec zeros();
  Vec upper_half(const Vec& s);
  bool compare_lanes(u32 kind, u32 width);
  void compare_floats(u32 kind, bool is_double);
  void truth(target::CondCode code);                    // x86 alone
  void truth(const Vec& v, Condition::Kind kind);       // a64 alone
  void all_true(u32 width);
  void bitmask(u32 width);
  void shift_lanes(u32 kind, u32 width);
  void multiply_extended(u32 kind, u32 width);
  void multiply_64();
  void min_max_floats(bool is_max, bool is_double);
  bool special_unary(u32 code);
  bool special_binary(u32 code);
  bool special_ternary(u32 code);

  NativeCode& native_;
  const ModuleData& module_;
  const Job& job_;
  const FuncType& type_;
  const bool by_slots_;
  asmjit::CodeHolder& code_;
  target::Compiler cc_;
  std::unique_ptr<target::Assembler> assembler_;
  Reader reader_;
  asmjit::FuncNode* function_ = nullptr;
  asmjit::BaseNode* entry_ = nullptr;  // code that is needed only if something asks for it goes behind
  Gp vm_, memory_, slots_, fuel_;
  bool memory_used_ = false, calls_ = false;
  Gp address_;  // a64 alone: of memory 0 at address_local_
  u32 address_local_ = kNoLocal;
  u32 loop_depth_ = 0, first_wish_ = 0, wishes_ = 0;
  struct Copy {
    std::size_t argument = 0;
    asmjit::BaseReg kept;
    asmjit::BaseNode* node = nullptr;
  };
  std::vector<Copy> copies_;  // of parameters, to where they are kept
  u64 memory_weight_ = 1, fuel_weight_ = 1;
  std::vector<u64> local_weights_;
  asmjit::Label loop_entry_;
  bool loop_entered_ = false;
  std::vector<ValType> local_types_;
  std::vector<asmjit::BaseReg> locals_;
  u32 operand_slot_ = 0;  // of the interpreter's frame: where operands begin
  std::vector<Value> stack_;
  std::vector<Block> blocks_;
  std::vector<TrapSite> traps_;
  std::vector<JumpTable> tables_;
  asmjit::InstNode* charge_ = nullptr;
  u32 charged_ = 0;
  Mem area_;
  u32 area_slots_ = 0;
  u32 wasm_ = 0;  // where in the module
  bool dead_ = false;
  bool supported_ = true;
};

}  // namespace monopod::wasm::jit
