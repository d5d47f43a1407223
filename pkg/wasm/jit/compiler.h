// The optimising compiler of one function: every local, and every operand that is in no local and no constant, is a virtual register of asmjit's Compiler, which
// gives out the real ones. That takes more than linear time: large bodies are the baseline compiler's.
#pragma once

#include <memory>
#include <vector>

#include "wasm/jit/lowering.h"

namespace monopod::wasm::jit {

struct CompilerOwner {
  explicit CompilerOwner(asmjit::CodeHolder& code) : compiler_(&code) {}
  target::Compiler compiler_;
};

class FunctionCompiler final : private CompilerOwner, public Lowering {
 public:
  FunctionCompiler(NativeCode& native, const Job& job, asmjit::CodeHolder& code);
  bool run(CompiledFunction& out) override;

 private:
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

  // compiler.cc: registers and operands
  asmjit::BaseReg make_register(ValType type) override;  // frame.cc
  asmjit::BaseReg in_register(const Value& v) override;
  void load(const asmjit::BaseReg& to, const Value& from) override;
  Gp fixed(const Gp&) override { return make_int(); }
  void push(const Value& v) override { stack_.push_back(v); }
  Value pop() override;
  asmjit::BaseReg argument(const Value& v);  // of a call: a copy, or else what is kept for later would be saved and loaded around it
  void settle_local(u32 local) override;
  void settle_all();  // operands that are locals get registers of their own
  void set_local(u32 local, const Value& v) override;
  void used_local(u32 local) override { used(local_weights_[local]); }
  Gp memory_base() override;
  Mem constant(const void* bytes, std::size_t count) override { return compiler_.newConst(asmjit::ConstPoolScope::kLocal, bytes, count); }
  void place(Trap trap) override;

  // compiler.cc: the whole
  bool start();
  void put_aside();
  bool hands_on_memory() const { return target::kMemoryRegister && !module_.memories.empty(); }
  void argument_aside(std::size_t local);
  void load_local(std::size_t local, u32 slot);  // from the interpreter's frame
  void begin_loop_entry(const Block& loop);
  void charge() override;  // frame.cc
  void load_fuel() override;
  void finish(CompiledFunction& out);

  // What lives across calls is best kept in registers that callees preserve.
  void used(u64& weight) { weight += u64{1} << (3 * std::min<u32>(loop_depth_, 8)); }
  void add_wishes(asmjit::FuncSignatureBuilder& signature);
  void place_wishes();
  void grant_wishes();
  void drop_copies();

  // <processor>/frame.cc
  void jump_by_table(const Gp& index, const asmjit::Label& table, asmjit::JumpAnnotation* annotation);
  void prepare_frame();
  void describe_frame(CompiledFunction& out);
  bool keep_vm_register();      // a64 alone
  bool has_stack_arguments() const;  // of it; this and the next are x86's alone
  std::uint32_t leave_handed_on();
  std::uint32_t spare_saves();
  void move_cold();
  void settle_charge();
  asmjit::InvokeNode* invoke_node(const asmjit::Operand& target, const asmjit::FuncSignatureBuilder& signature);
  void tidy_instructions();  // a64 alone

  // control.cc
  void begin_block(std::uint8_t opcode) override;
  void start_else() override;
  void end_block() override;
  void branch(u32 depth) override;
  void branch_if(u32 depth) override;
  void branch_table() override;
  void emit_return() override;
  void move_all(std::span<const asmjit::BaseReg> to, std::span<const Value> from);
  void move_results(Block& block);
  Block& block_at(u32 depth) { return blocks_[blocks_.size() - 1 - depth]; }

  // calls.cc
  Gp help(const void* helper, std::initializer_list<Value> before, u32 operands, bool returns) override;
  void invoke(const asmjit::Operand& target, const FuncType& type) override;
  asmjit::Operand own_entry() override { return function_->label(); }
  void tail_invoke(const TailSite& site, const FuncType& type) override;
  void emit_tails();
  Mem host_area(u32 slots) override;
  Mem kept_sp() override { return kept_sp_; }
  std::vector<Value> pop_arguments(std::size_t count);
  void store_slots(const Mem& to, const std::vector<Value>& values);

  std::unique_ptr<target::Assembler> assembler_;
  asmjit::FuncNode* function_ = nullptr;
  asmjit::BaseNode* cold_ = nullptr;   // the first of what is not on the way
  asmjit::BaseNode* entry_ = nullptr;  // code that is needed only if something asks for it goes behind
  Gp memory_, slots_, fuel_;
  bool memory_used_ = false, calls_ = false;
  u32 loop_depth_ = 0, first_wish_ = 0, wishes_ = 0;
  struct Copy {
    std::size_t argument = 0;
    asmjit::BaseReg kept;
    asmjit::BaseNode* node = nullptr;
  };
  std::vector<Copy> copies_;  // of parameters, to where they are kept
  u64 memory_weight_ = 1, fuel_weight_ = 1;
  std::vector<u64> local_weights_;
  std::vector<Mem> aside_;  // of locals that are in memory; none: in a register
  asmjit::Label loop_entry_;
  bool loop_entered_ = false;
  std::vector<Block> blocks_;
  asmjit::InstNode* charge_ = nullptr;
  std::vector<std::pair<TailSite, asmjit::InvokeNode*>> tails_;
  Mem area_, kept_sp_;
  u32 area_slots_ = 0;
};

}  // namespace monopod::wasm::jit
