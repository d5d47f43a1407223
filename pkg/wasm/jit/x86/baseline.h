// The baseline compiler of one function: one pass, in time linear in the body, for what the optimising compiler is too slow with. Each instruction is encoded where
// it is read.
//
//   frame, from the stack pointer up: what calls pass there │ locals │ the interpreter's return address │ operands │ saved registers
//
// Locals that are used most, counted by a look ahead and more inside of loops, have registers for the whole function; the others are in the frame. Operands are
// in whatever register is free until one is wanted for another, which sends the deepest to its place in the frame. Where paths meet all operands are in the frame
// or constants, but the only result of a block: that is in rax or xmm0. So there is nothing to merge.
// The frame's slots are numbered as the interpreter's, so that entering at a loop is a copy.
#pragma once

#include "wasm/jit/lowering.h"

namespace monopod::wasm::jit {

struct AssemblerOwner {
  explicit AssemblerOwner(asmjit::CodeHolder& code) : assembler_(&code) {}
  x86::Assembler assembler_;
};

class BaselineCompiler final : private AssemblerOwner, public Lowering {
 public:
  BaselineCompiler(NativeCode& native, const Job& job, asmjit::CodeHolder& code);
  bool run(CompiledFunction& out) override;

 private:
  struct Block {
    std::uint8_t opcode = 0;
    asmjit::Label start, end, other;  // of loops; behind it; else
    asmjit::Label pad;                // where the jump table in the making enters it
    u32 pad_of = 0;                   // which table that is
    u32 height = 0, base = 0;         // operands below, and their slots
    std::vector<ValType> params, results;
    bool branched_to = false, has_else = false;
    std::span<const ValType> carried() const { return opcode == kLoop ? params : results; }
  };
  struct Move {
    Value from;
    asmjit::BaseReg to;
  };
  struct Constant {
    asmjit::Label label;
    u64 bits[2] = {};
    u32 bytes = 0;
  };

  static constexpr u32 kScratchSlots = 3;  // an operand, and the machine's stack pointer

  // baseline.cc: registers, as bits of a mask: integers from 0, vectors from 16
  static u32 bit_of(const asmjit::BaseReg& r) { return u32{1} << (r.id() + (x86::Reg::isXmm(r) ? 16 : 0)); }
  static u32 held_by(const Value& v);  // the register that is its own
  asmjit::BaseReg make_register(ValType type) override;
  asmjit::BaseReg in_register(const Value& v) override;
  void load(const asmjit::BaseReg& to, const Value& from) override;
  x86::Gp fixed(const x86::Gp& real) override;
  void release(const asmjit::BaseReg& r) override { pinned_ &= ~bit_of(r); }
  void settle_local(u32 local) override;
  void set_local(u32 local, const Value& v) override;
  x86::Gp memory_base() override { return kMemory; }
  x86::Mem constant(const void* bytes, std::size_t count) override;
  void push(const Value& v) override;
  Value pop() override;
  void truncate_to(u32 height);
  void spill(Value& v);         // to its place in the frame
  void spill_below(u32 count);  // of so many operands those that are in registers
  bool spill_one(u32 usable);
  void settle_frame();  // all operands are in the frame, or constants, afterwards
  void settle_constants(std::size_t count);
  void to_frame(u32 slot, const Value& v);
  x86::Mem frame(u32 slot) const { return x86::ptr(x86::rsp, static_cast<std::int32_t>(out_bytes_ + slot * 8)); }
  x86::Mem operand_place(u32 home) const { return frame(operand_slot_ + home); }

  // baseline.cc: the whole
  void plan();
  void foresee_call(const FuncType& type, bool imported) override;
  void give_registers(std::vector<std::pair<u64, u32>>& by_weight, bool vectors);
  bool start();
  void take_parameters();
  void clear_locals();
  void clear_frame(std::size_t first);
  void begin_loop_entry(const Block& loop);
  void save_registers(bool back);
  void finish(CompiledFunction& out);
  void place(Trap trap) override;
  void charge() override;
  void load_fuel() override;
  void store_fuel() override;
  void patch_charge();

  // baseline_control.cc
  static asmjit::BaseReg result_place(ValType type);
  void begin_block(std::uint8_t opcode) override;
  void start_else() override;
  void end_block() override;
  void branch(u32 depth) override;
  void branch_if(u32 depth) override;
  void branch_table() override;
  void emit_return() override;
  void return_values();
  void settle_for(u32 depth) override {
    if (by_frame(depth)) settle_frame();
  }
  bool by_frame(u32 depth) const;        // whether what a branch there carries goes through memory
  asmjit::Label* plain_target(u32 depth);  // where a branch there jumps, if it carries nothing; else null
  void carry(const Block& block);
  Block& block_at(u32 depth) { return blocks_[blocks_.size() - 1 - depth]; }
  const Block& block_at(u32 depth) const { return blocks_[blocks_.size() - 1 - depth]; }

  // baseline_calls.cc
  x86::Gp help(const void* helper, std::initializer_list<Value> before, u32 operands, bool returns) override;
  void invoke(const asmjit::Operand& target, const FuncType& type) override;
  void tail_invoke(const TailSite& site, const FuncType& type) override;
  x86::Gp take_slots(const FuncType& type, bool own);
  void store_arguments(const x86::Gp& slots, std::size_t first);
  template <typename F>
  void plan_arguments(const FuncType& type, std::size_t first, F on_stack);
  void invoke_by_slots(const asmjit::Operand& target, const FuncType& type);
  void call_target(asmjit::Operand target);
  asmjit::Operand own_entry() override { return entry_; }
  x86::Mem host_area(u32) override { return x86::ptr(x86::rsp); }
  x86::Mem kept_sp() override { return frame(scratch_at_ + kScratchSlots); }
  void add_target(asmjit::Operand& target);
  void resolve_moves();
  void save_locals(bool back);  // those in registers that calls do not preserve

  std::vector<Place>* places_ = nullptr;
  std::vector<NearCall>* near_calls_ = nullptr;
  asmjit::Label entry_, epilogue_, too_deep_, loop_entry_;
  bool loop_entered_ = false;
  u32 temporaries_ = 0;  // the registers that operands may have
  u32 held_ = 0;         // by operands on the stack
  u32 pinned_ = 0;       // by the instruction that is being compiled
  u32 preserved_ = 0;    // saved at the entry
  std::vector<u32> locals_to_save_;
  std::vector<u32> local_slots_;
  std::vector<u32> pending_;  // operands that are this local
  u32 top_ = 0;               // slots of operands
  std::size_t settled_ = 0;   // operands up to here are in the frame or constants
  std::size_t spill_from_ = 0;  // and up to here none is in a register of its own
  u32 out_bytes_ = 0, frame_bytes_ = 0, slots_at_ = 0, saved_at_ = 0, scratch_at_ = 0;
  std::vector<Block> blocks_;
  std::vector<Move> moves_;
  std::vector<Constant> constants_;
  u32 tables_made_ = 0;
  std::size_t charge_at_ = 0;
};

}  // namespace monopod::wasm::jit
