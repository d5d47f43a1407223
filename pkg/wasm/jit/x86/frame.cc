// What the optimising compiler asks of a processor: virtual registers, the frame, calls.
#include "wasm/jit/compiler.h"
#include "wasm/jit/stubs.h"

namespace monopod::wasm::jit {

using namespace asmjit;

BaseReg FunctionCompiler::make_register(ValType type) {
  if (type == kF32) return compiler_.newXmmSs();
  if (type == kF64) return compiler_.newXmmSd();
  if (type == kV128) return compiler_.newXmm();
  return compiler_.newUInt64();
}

void FunctionCompiler::jump_by_table(const Gp& index, const Label& table, JumpAnnotation* annotation) {
  x86::Gp base = make_int(), offset = make_int();
  cc_.lea(base, x86::ptr(table));
  cc_.movsxd(offset, x86::dword_ptr(base, index, 2));
  cc_.add(base, offset);
  compiler_.jmp(base, annotation);
}

// ---- the frame

void FunctionCompiler::prepare_frame() { function_->frame().setAvxEnabled(); }

void FunctionCompiler::describe_frame(CompiledFunction& out) {
  out.link_bytes = function_->frame().saOffsetFromSP() - 8;
  bool kept = keep_vm_register();
  if (kept) out.link_bytes -= 8;
  out.frame_bytes = out.link_bytes + 8;
  // Pushed first.
  out.saved = function_->frame().savedRegs(RegGroup::kGp) & ~(kept ? 1u << kVmRegister.id() : 0);
  out.saved |= CompiledFunction::kSavedDownwards;
  out.saved_bytes = out.link_bytes - 8;
}

// The allocator saves the instance's register where it is only read. In a function that calls nothing and has nothing on the stack it need not: true where that
// was undone.
bool FunctionCompiler::keep_vm_register() {
  u32 integers = 0, floats = 0;
  for (ValType t : type_.params) ++(is_integer(t) ? integers : floats);
  if (calls_ || function_->frame().stackAdjustment() != 0 || integers > 5 || floats > 8) return false;
  std::vector<BaseNode*> saves;
  for (BaseNode* node = compiler_.firstNode(); node != nullptr; node = node->next()) {
    if (!node->isInst()) continue;
    auto* inst = node->as<InstNode>();
    if (inst->opCount() == 0 || !inst->op(0).isReg() || !x86::Reg::isGp(inst->op(0)) || inst->op(0).id() != kVmRegister.id()) continue;
    if (inst->id() == x86::Inst::kIdPush || inst->id() == x86::Inst::kIdPop) saves.push_back(node);
    else if (inst->id() != x86::Inst::kIdCmp && inst->id() != x86::Inst::kIdTest) return false;
  }
  for (BaseNode* node : saves) compiler_.removeNode(node);
  return !saves.empty();
}

// The baseline compiler makes all code that counts fuel.
void FunctionCompiler::charge() {}
void FunctionCompiler::settle_charge() {}

// ---- calls

InvokeNode* FunctionCompiler::invoke_node(const Operand& target, const FuncSignatureBuilder& signature) {
  place(Trap::kNone);
  InvokeNode* node = nullptr;
  compiler_.addInvokeNode(&node, x86::Inst::kIdCall, target, signature);
  return node;
}

}  // namespace monopod::wasm::jit
