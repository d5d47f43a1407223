// What the optimising compiler asks of a processor: virtual registers, the frame, calls.
#include <bit>

#include "wasm/jit/compiler.h"
#include "wasm/jit/stubs.h"

namespace monopod::wasm::jit {

using namespace asmjit;
using arm::CondCode;

BaseReg FunctionCompiler::make_register(ValType type) {
  if (type == kF32) return compiler_.newVecS();
  if (type == kF64) return compiler_.newVecD();
  if (type == kV128) return compiler_.newVecQ();
  return compiler_.newUInt64();
}

void FunctionCompiler::jump_by_table(const Gp& index, const Label& table, JumpAnnotation* annotation) {
  Gp base = make_int(), offset = make_int();
  cc_.adr(base, table);
  cc_.ldrsw(offset, a64::ptr(base, index, arm::lsl(2)));
  cc_.add(base, base, offset);
  compiler_.br(base, annotation);
}

// ---- the frame

// Compiled code preserves no vector registers: of v8 to v15 the ABI's callees would preserve a half, which the allocator does not know. emit_enter() does, for C++.
void FunctionCompiler::prepare_frame() { function_->frame()._preservedRegs[RegGroup::kVec] = 0; }

// Saved registers stand in pairs above what else is on the stack, in ascending order: x30, the return address, is the last.
void FunctionCompiler::describe_frame(CompiledFunction& out) {
  const FuncFrame& frame = function_->frame();
  tidy_instructions();
  u32 integers = frame.savedRegs(RegGroup::kGp);
  auto saved = static_cast<u32>(std::popcount(integers));
  if (keep_vm_register()) integers = saved = 0;
  out.frame_bytes = frame.stackAdjustment() + 16 * ((saved + 1) / 2);
  out.saved = integers;
  out.saved_bytes = frame.stackAdjustment();
  out.link_bytes = (integers >> 30 & 1) != 0 ? frame.stackAdjustment() + 8 * (saved - 1) : CompiledFunction::kLinkKept;
}

// Moves of a register to itself go, which the allocator leaves, and those that grant_wishes() made.
void FunctionCompiler::tidy_instructions() {
  for (BaseNode* node = compiler_.firstNode(); node != nullptr;) {
    BaseNode* next = node->next();
    if (node->isInst()) {
      auto* inst = node->as<InstNode>();
      if (inst->id() == a64::Inst::kIdMov && inst->op(1).isReg() && inst->op(0) == inst->op(1) && inst->op(0).as<a64::Reg>().isGpX()) compiler_.removeNode(node);
      else if (inst->id() == target::kSubtract) inst->setId(a64::Inst::kIdSub);
    }
    node = next;
  }
}

// The allocator saves the instance's register where it is only read. In a function that calls nothing and saves nothing else it need not: true where that was undone.
bool FunctionCompiler::keep_vm_register() {
  const FuncFrame& frame = function_->frame();
  if (calls_ || frame.savedRegs(RegGroup::kGp) != 1u << kVmRegister.id() || function_->detail().hasStackArgs()) return false;
  std::vector<BaseNode*> saves;
  for (BaseNode* node = compiler_.firstNode(); node != nullptr; node = node->next()) {
    if (!node->isInst()) continue;
    auto* inst = node->as<InstNode>();
    if (inst->opCount() == 0 || !inst->op(0).isReg() || !inst->op(0).as<a64::Reg>().isGp() || inst->op(0).id() != kVmRegister.id()) continue;
    bool on_stack = inst->opCount() == 2 && inst->op(1).isMem() && inst->op(1).as<Mem>().isPreOrPost();
    if (on_stack && (inst->id() == a64::Inst::kIdStr || inst->id() == a64::Inst::kIdLdr)) saves.push_back(node);
    else if (inst->id() != a64::Inst::kIdCmp && inst->id() != a64::Inst::kIdStr) return false;
  }
  for (BaseNode* node : saves) compiler_.removeNode(node);
  return !saves.empty();
}

// The interpreter's blocks, charged before they run; how much is known at their end.
void FunctionCompiler::charge() {
  address_local_ = kNoLocal;
  if (!native_.fuel) return;
  settle_charge();
  charged_ = 0;
  used(fuel_weight_);
  cc_.subs(fuel_, fuel_, 0);
  charge_ = compiler_.cursor()->as<InstNode>();
  cc_.str(fuel_, at(vm_, offsetof(Vm, fuel)));
  trap_if(CondCode::kMI, Trap::kFuel);
}

void FunctionCompiler::settle_charge() {
  if (charge_ == nullptr) return;
  if (charged_ >= 4096) return unsupported();
  charge_->setOp(2, Imm(charged_));
}

// ---- calls

InvokeNode* FunctionCompiler::invoke_node(const Operand& target, const FuncSignatureBuilder& signature) {
  address_local_ = kNoLocal;
  place(Trap::kNone);
  InvokeNode* node = nullptr;
  compiler_.addInvokeNode(&node, target.isReg() ? a64::Inst::kIdBlr : a64::Inst::kIdBl, target, signature);
  if (node != nullptr) node->detail()._callConv.setPreservedRegs(RegGroup::kVec, 0);
  return node;
}

}  // namespace monopod::wasm::jit
