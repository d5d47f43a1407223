// What the optimising compiler asks of a processor: virtual registers, the frame, calls.
#include <algorithm>
#include <bit>

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

namespace {

// r, or a part of it, as an operand of its own.
bool is_gp(const Operand& op, std::uint32_t id) { return op.isReg() && x86::Reg::isGp(op) && op.id() == id; }

bool is_save(const InstNode& inst, std::uint32_t id) { return (inst.id() == x86::Inst::kIdPush || inst.id() == x86::Inst::kIdPop) && inst.opCount() == 1 && is_gp(inst.op(0), id); }

// More than what is written, at most: a register that seems written is saved.
bool may_write(const InstNode& inst, std::uint32_t id) {
  if (inst.id() == x86::Inst::kIdCmp || inst.id() == x86::Inst::kIdTest || is_save(inst, id)) return false;
  bool two = inst.id() == x86::Inst::kIdXchg || inst.id() == x86::Inst::kIdMulx;
  return (inst.opCount() > 0 && is_gp(inst.op(0), id)) || (two && is_gp(inst.op(1), id));
}

template <typename F>
void each_instruction(const x86::Compiler& compiler, F see) {
  for (BaseNode *node = compiler.firstNode(), *next = nullptr; node != nullptr; node = next) {
    next = node->next();
    if (node->isInst()) see(*node->as<InstNode>());
  }
}

constexpr x86::Gp kHandedOn[] = {kVmRegister, kMemory};

bool has_gp_index(const x86::Mem& m) { return m.hasIndexReg() && m.indexType() <= RegType::kX86_Gpq; }

std::uint32_t integers_of(const InstNode& inst) {
  std::uint32_t out = 0;
  auto add = [&out](std::uint32_t id) { out |= id < 16 ? 1u << id : 0; };
  for (std::uint32_t i = 0; i < inst.opCount(); ++i) {
    const Operand& op = inst.op(i);
    if (op.isReg() && x86::Reg::isGp(op)) add(op.id());
    if (op.isMem() && op.as<x86::Mem>().hasBaseReg()) add(op.as<x86::Mem>().baseId());
    if (op.isMem() && has_gp_index(op.as<x86::Mem>())) add(op.as<x86::Mem>().indexId());
  }
  return out;
}

void rename(InstNode& inst, std::uint32_t from, std::uint32_t to) {
  for (std::uint32_t i = 0; i < inst.opCount(); ++i) {
    Operand& op = inst.op(i);
    if (is_gp(op, from)) op.as<BaseReg>().setId(to);
    if (!op.isMem()) continue;
    auto& m = op.as<x86::Mem>();
    if (m.hasBaseReg() && m.baseId() == from) m.setBaseId(to);
    if (has_gp_index(m) && m.indexId() == from) m.setIndexId(to);
  }
}

}  // namespace

void FunctionCompiler::describe_frame(CompiledFunction& out) {
  out.link_bytes = function_->frame().saOffsetFromSP() - 8;
  std::uint32_t spared = calls_ ? leave_handed_on() : spare_saves();
  out.link_bytes -= 8 * static_cast<std::uint32_t>(std::popcount(spared));
  out.frame_bytes = out.link_bytes + 8;
  // Pushed first.
  out.saved = function_->frame().savedRegs(RegGroup::kGp) & ~spared;
  out.saved |= CompiledFunction::kSavedDownwards;
  out.saved_bytes = out.link_bytes - 8;
  if (cold_ != nullptr) move_cold();
}

bool FunctionCompiler::has_stack_arguments() const {
  std::uint32_t integers = 0, floats = 0;
  for (ValType t : type_.params) ++(is_integer(t) ? integers : floats);
  return !by_slots_ && (integers > std::size(target::kIntegers) || floats > target::kFloats);
}

// The allocator saves what calls hand on where it is only read. That both stay as they are, and the stack aligned, spares both saves (as bits); one alone stays
// pushed, but is not loaded again: whoever called would wait for that.
std::uint32_t FunctionCompiler::leave_handed_on() {
  std::vector<InstNode*> pushes, pops;
  for (const Gp& r : kHandedOn) {
    std::vector<InstNode*> saves;
    bool written = false;
    each_instruction(compiler_, [&](InstNode& inst) {
      written = written || may_write(inst, r.id());
      if (is_save(inst, r.id())) saves.push_back(&inst);
    });
    if (written) continue;
    for (InstNode* save : saves) (save->id() == x86::Inst::kIdPush ? pushes : pops).push_back(save);
  }
  if (pushes.size() == 2 && !has_stack_arguments()) {
    for (auto* list : {&pushes, &pops})
      for (InstNode* save : *list) compiler_.removeNode(save);
    return 1u << kVmRegister.id() | 1u << kMemory.id();
  }
  for (InstNode* pop : pops) {
    pop->setId(x86::Inst::kIdAdd);
    pop->setOpCount(2);
    pop->setOp(0, x86::rsp);
    pop->setOp(1, Imm(8));
  }
  return 0;
}

// What is not on the way goes behind the way out, which nobody then jumps to over it.
void FunctionCompiler::move_cold() {
  LabelNode* exit = function_->exitNode();
  for (BaseNode *node = cold_, *next = nullptr; node != exit; node = next) {
    next = node->next();
    compiler_.removeNode(node);
    compiler_.addBefore(node, function_->endNode());
  }
  BaseNode* before = exit->prev();
  if (!before->isInst()) return;
  auto* jump = before->as<InstNode>();
  if (jump->id() == x86::Inst::kIdJmp && jump->op(0).isLabel() && jump->op(0).id() == exit->labelId()) compiler_.removeNode(jump);
}

// In a function that calls nothing and has nothing on the stack what calls hand on need not be saved, and what lives in registers that are to be preserved can live in
// others, which the allocator likes less. Whose saves that spared, as bits.
std::uint32_t FunctionCompiler::spare_saves() {
  std::uint32_t used = 0, saves = 0, spared = 0;
  if (function_->frame().stackAdjustment() != 0 || has_stack_arguments()) return 0;
  std::uint32_t read_only = 0;
  for (const Gp& r : kHandedOn) read_only |= 1u << r.id();
  each_instruction(compiler_, [&](InstNode& inst) {
    used |= integers_of(inst);
    for (const Gp& r : kHandedOn)
      if (may_write(inst, r.id())) read_only &= ~(1u << r.id());
    if (inst.id() == x86::Inst::kIdPush) saves |= integers_of(inst);
  });
  spared = saves & read_only;
  for (const Gp& preserved : target::kPreserved) {
    if (((saves & ~spared) >> preserved.id() & 1) == 0) continue;
    const auto* free = std::ranges::find_if(target::kFree, [used](const Gp& r) { return (used >> r.id() & 1) == 0; });
    if (free == std::end(target::kFree)) break;
    used |= 1u << free->id();
    spared |= 1u << preserved.id();
    each_instruction(compiler_, [&](InstNode& inst) {
      if (!is_save(inst, preserved.id())) rename(inst, preserved.id(), free->id());
    });
  }
  each_instruction(compiler_, [&](InstNode& inst) {
    if (inst.opCount() == 1 && inst.op(0).isReg() && is_save(inst, inst.op(0).id()) && (spared >> inst.op(0).id() & 1) != 0) compiler_.removeNode(&inst);
  });
  return spared;
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
