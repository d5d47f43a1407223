// Blocks and branches. Where paths meet, operands are in the frame, but for the one result of a block.
#include "wasm/function_body.h"
#include "wasm/jit/stubs.h"
#include "wasm/jit/x86/baseline.h"

namespace monopod::wasm::jit {

using namespace asmjit;

BaseReg BaselineCompiler::result_place(ValType type) {
  if (is_integer(type)) return x86::rax;
  return x86::xmm0;
}

bool BaselineCompiler::by_frame(u32 depth) const {
  if (depth + 1 == blocks_.size()) return by_slots_;
  const Block& block = block_at(depth);
  return block.opcode == kLoop ? !block.params.empty() : block.results.size() > 1;
}

Label* BaselineCompiler::plain_target(u32 depth) {
  Block& block = block_at(depth);
  if (!block.carried().empty() || (depth + 1 == blocks_.size() && by_slots_)) return nullptr;
  block.branched_to = true;
  return block.opcode == kLoop ? &block.start : &block.end;
}

void BaselineCompiler::begin_block(std::uint8_t opcode) {
  Block block{.opcode = opcode, .end = cc_.newLabel()};
  Value condition;
  if (opcode == kIf) condition = pop();
  read_block_type(reader_, module_, block.params, block.results);
  if (opcode == kTryTable) begin_try();
  settle_frame();
  if (!block.params.empty()) settle_constants(block.params.size());
  block.height = static_cast<u32>(stack_.size() - block.params.size());
  block.base = block.params.empty() ? top_ : stack_[block.height].home;
  if (opcode == kIf) {
    block.other = cc_.newLabel();
    jump_if(negated(condition_of(condition)), block.other);
    charge();
  }
  if (opcode == kLoop) {
    block.start = cc_.newLabel();
    if (job_.loop == wasm_) begin_loop_entry(block);
    cc_.align(AlignMode::kCode, target::kLoopAlignment);
    cc_.bind(block.start);
    pinned_ = 0;
    check_interruption();
    charge();
  }
  if (opcode == kTryTable) charge();
  blocks_.push_back(std::move(block));
}

// What the block's label takes, to where it is taken. Nothing is given out: this may be a path of its own, behind a condition. What goes by the frame is there.
void BaselineCompiler::carry(const Block& block) {
  std::span<const ValType> types = block.carried();
  if (types.empty()) return;
  if (types.size() == 1 && block.opcode != kLoop) return move(result_place(types[0]), stack_.back());
  u32 to = block.base;
  for (std::size_t i = stack_.size() - types.size(); i < stack_.size(); ++i) {
    const Value& v = stack_[i];
    if (v.kind == Value::Kind::kConst || v.slot != to) {
      BaseReg through = result_place(v.type);
      move(through, v);
      store_slot(operand_place(to), v.type, through);
    }
    to += slots_of(v.type);
  }
}

void BaselineCompiler::start_else() {
  Block& block = blocks_.back();
  if (!dead_) {
    if (block.results.size() > 1) settle_frame();
    carry(block);
    cc_.jmp(block.end);
    block.branched_to = true;
  }
  cc_.bind(block.other);
  block.has_else = true;
  truncate_to(block.height);
  for (ValType t : block.params) push({.kind = Value::Kind::kSlot, .type = t, .slot = top_});
  dead_ = false;
  charge();
}

void BaselineCompiler::end_block() {
  if (blocks_.size() == 1) {
    if (!dead_) return_values();  // the way out comes next
    blocks_.pop_back();
    return;
  }
  bool by_memory = by_frame(0) && blocks_.back().opcode != kLoop;
  Block block = std::move(blocks_.back());
  blocks_.pop_back();
  bool loop = block.opcode == kLoop;
  bool open_if = block.opcode == kIf && !block.has_else;
  bool joins = (block.branched_to && !loop) || open_if;
  bool reached = !dead_ || joins;
  bool tried = block.opcode == kTryTable && tries_.back().used;
  joins = joins || (tried && !dead_);  // what is in registers would be in the way of what is caught
  if (!dead_ && joins) {
    if (by_memory) settle_frame();
    carry(block);
  }
  if (open_if) {  // without an else what was given is what comes out
    bool one = block.results.size() == 1;
    if (one && !dead_) cc_.jmp(block.end);
    cc_.bind(block.other);
    if (one) load_slot(result_place(block.results[0]), block.results[0], operand_place(block.base));
  }
  if (block.opcode == kTryTable) {
    if (joins || dead_) truncate_to(block.height);
    end_try(block.end);
  }
  if (!loop) cc_.bind(block.end);
  if (joins || dead_) {
    truncate_to(block.height);
    if (block.results.size() == 1) push_register(block.results[0], result_place(block.results[0]));
    else for (ValType t : block.results) push({.kind = Value::Kind::kSlot, .type = t, .slot = top_});
  }
  dead_ = !reached;
  if (reached) charge();
}

void BaselineCompiler::return_values() {
  std::size_t count = type_.results.size();
  if (by_slots_) {
    settle_frame();
    cc_.mov(x86::rcx, frame(slots_at_));
    u32 to = 0;
    for (std::size_t i = stack_.size() - count; i < stack_.size(); ++i) {
      BaseReg through = result_place(stack_[i].type);
      move(through, stack_[i]);
      store_slot(x86::ptr(x86::rcx, static_cast<std::int32_t>(to * 8)), stack_[i].type, through);
      to += slots_of(stack_[i].type);
    }
  } else if (count == 1) {
    move(result_place(type_.results[0]), stack_.back());
  }
}

void BaselineCompiler::emit_return() {
  return_values();
  cc_.jmp(epilogue_);
}

void BaselineCompiler::branch(u32 depth) {
  if (by_frame(depth)) settle_frame();
  if (depth + 1 == blocks_.size()) {
    emit_return();
  } else {
    Block& block = block_at(depth);
    carry(block);
    cc_.jmp(block.opcode == kLoop ? block.start : block.end);
    block.branched_to = true;
  }
  dead_ = true;
}

void BaselineCompiler::branch_if(u32 depth) {
  Value condition = pop();
  if (Label* to = plain_target(depth); to != nullptr) {
    jump_if(condition_of(condition), *to);
    return charge();
  }
  if (by_frame(depth)) settle_frame();  // on both paths
  branch_where(condition_of(condition), depth);
}

void BaselineCompiler::branch_table() {
  Value index = pop();
  u32 count = reader_.u32();
  std::vector<u32> depths(count + 1), to_make;
  for (u32& d : depths) d = reader_.u32();
  bool settles = false;
  for (u32 d : depths) settles = settles || by_frame(d);
  x86::Gp i = gp(index);
  if (settles) settle_frame();
  x86::Gp base = make_int(), offset = make_int();
  ++tables_made_;
  auto target = [&](u32 depth) -> Label {
    if (Label* plain = plain_target(depth); plain != nullptr) return *plain;
    Block& block = block_at(depth);
    if (block.pad_of != tables_made_) {
      block.pad_of = tables_made_;
      block.pad = cc_.newLabel();
      to_make.push_back(depth);
    }
    return block.pad;
  };
  Label otherwise = target(depths[count]);
  if (count != 0) {
    cc_.cmp(i.r32(), count);
    cc_.jae(otherwise);
    JumpTable table{.at = cc_.newLabel()};
    for (u32 k = 0; k < count; ++k) table.targets.push_back(target(depths[k]));
    cc_.lea(base, x86::ptr(table.at));
    cc_.movsxd(offset, x86::dword_ptr(base, i, 2));
    cc_.add(base, offset);
    cc_.jmp(base);
    tables_.push_back(std::move(table));
  } else {
    cc_.jmp(otherwise);
  }
  for (u32 depth : to_make) {
    cc_.bind(block_at(depth).pad);
    branch(depth);
  }
  dead_ = true;
}

}  // namespace monopod::wasm::jit
