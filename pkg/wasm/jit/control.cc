// Blocks and branches. Where paths meet, values are in registers that belong to the block.
#include "wasm/function_body.h"
#include "wasm/jit/compiler.h"
#include "wasm/jit/stubs.h"

namespace monopod::wasm::jit {

using namespace asmjit;

void FunctionCompiler::begin_block(std::uint8_t opcode) {
  Block block{.opcode = opcode, .end = cc_.newLabel()};
  Value condition;
  if (opcode == kIf) condition = pop();
  read_block_type(reader_, module_, block.params, block.results);
  if (opcode == kTryTable) begin_try();
  settle_all();
  std::size_t count = block.params.size();
  block.height = static_cast<u32>(stack_.size() - count);
  for (ValType t : block.results) block.out.push_back(make_register(t));
  if (opcode == kIf) {
    for (std::size_t i = block.height; i < stack_.size(); ++i) {
      if (stack_[i].kind != Value::Kind::kRegister) {
        BaseReg d = make_register(stack_[i].type);
        move(d, stack_[i]);
        stack_[i] = {.type = stack_[i].type, .reg = d};
      }
      // The else finds them as they are at the jump to it, whatever the first path does to their registers.
      block.given.push_back(stack_[i]);
    }
    block.other = cc_.newLabel();
    jump_if(negated(condition_of(condition)), block.other);
    charge();
  }
  if (opcode == kLoop) {
    block.start = cc_.newLabel();
    std::vector<Value> given(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    stack_.resize(block.height);
    for (ValType t : block.params) {
      block.in.push_back(make_register(t));
      push_register(t, block.in.back());
    }
    move_all(block.in, given);
    u32 offset = wasm_;
    if (job_.loop == offset) begin_loop_entry(block);
    cc_.align(AlignMode::kCode, target::kLoopAlignment);
    cc_.bind(block.start);
    ++loop_depth_;
    check_interruption();
    charge();
  }
  if (opcode == kTryTable) charge();
  blocks_.push_back(std::move(block));
}

void FunctionCompiler::start_else() {
  Block& block = blocks_.back();
  if (!dead_) {
    move_results(block);
    jump(block.end);
    block.branched_to = true;
  }
  cc_.bind(block.other);
  block.has_else = true;
  stack_.resize(block.height);
  for (const Value& v : block.given) push(v);
  dead_ = false;
  charge();
}

void FunctionCompiler::end_block() {
  if (blocks_.size() == 1) {
    if (!dead_) emit_return();
    blocks_.pop_back();
    return;
  }
  Block block = std::move(blocks_.back());
  blocks_.pop_back();
  if (block.opcode == kLoop) --loop_depth_;
  bool open_if = block.opcode == kIf && !block.has_else;
  bool reached = !dead_ || block.branched_to || open_if;
  // A block that nobody branches to has its results where they were made.
  bool joins = block.branched_to || open_if;
  std::vector<Value> results;
  if (!dead_ && !joins) results.assign(stack_.end() - static_cast<std::ptrdiff_t>(block.results.size()), stack_.end());
  if (!dead_ && joins) move_results(block);
  if (open_if) {  // without an else what was given is what comes out
    if (!block.given.empty()) {
      if (!dead_) jump(block.end);
      cc_.bind(block.other);
      move_all(block.out, block.given);
    } else {
      cc_.bind(block.other);
    }
  }
  stack_.resize(block.height);
  bool jumped = block.opcode == kTryTable && end_try(block.end);
  if (!block.pads.empty()) {
    if ((!dead_ && !jumped) || open_if) jump(block.end);
    for (const Label& pad : block.pads) {  // labels beside each other would be one
      cc_.bind(pad);
      if (pad.id() != block.pads.back().id()) jump(block.end);
      else cc_.nop();
    }
  }
  cc_.bind(block.end);
  dead_ = !reached;
  if (joins || results.size() != block.results.size()) {
    for (std::size_t i = 0; i < block.results.size(); ++i) push_register(block.results[i], block.out[i]);
  } else {
    for (const Value& v : results) push(v);
  }
  if (reached) charge();
}

// All at once: a target may be another one's source.
void FunctionCompiler::move_all(std::span<const BaseReg> to, std::span<const Value> from) {
  bool overlap = false;
  for (std::size_t i = 0; i < to.size(); ++i)
    for (std::size_t k = i + 1; k < from.size(); ++k) overlap = overlap || (from[k].kind == Value::Kind::kRegister && from[k].reg.id() == to[i].id());
  if (!overlap) {
    for (std::size_t i = 0; i < to.size(); ++i) move(to[i], from[i]);
    return;
  }
  std::vector<Value> copies;
  for (const Value& v : from) {
    BaseReg d = make_register(v.type);
    move(d, v);
    copies.push_back({.type = v.type, .reg = d});
  }
  for (std::size_t i = 0; i < to.size(); ++i) move(to[i], copies[i]);
}

void FunctionCompiler::move_results(Block& block) {
  move_all(block.out, std::span<const Value>(stack_).last(block.out.size()));
}

void FunctionCompiler::emit_return() {
  std::size_t count = type_.results.size();
  if (by_slots_) {
    // What the results come from may be parameters, but those are in registers.
    Mem to = at(slots_, 0);
    std::vector<Value> values(stack_.end() - static_cast<std::ptrdiff_t>(count), stack_.end());
    store_slots(to, values);
    compiler_.ret();
  } else if (count == 0) {
    compiler_.ret();
  } else {
    BaseReg r = in_register(stack_.back());
    if (is_integer(type_.results[0])) compiler_.ret(r.as<Gp>());
    else compiler_.ret(r.as<Vec>());
  }
}

void FunctionCompiler::branch(u32 depth) {
  if (depth + 1 == blocks_.size()) {
    emit_return();
  } else {
    Block& block = block_at(depth);
    const std::vector<BaseReg>& to = block.opcode == kLoop ? block.in : block.out;
    move_all(to, std::span<const Value>(stack_).last(to.size()));
    jump(block.opcode == kLoop ? block.start : block.end);
    if (block.opcode != kLoop) block.branched_to = true;
  }
  dead_ = true;
}

void FunctionCompiler::branch_if(u32 depth) {
  Value condition = pop();
  bool whole = depth + 1 == blocks_.size();
  if (!whole) {
    Block& block = block_at(depth);
    if ((block.opcode == kLoop ? block.in : block.out).empty()) {
      if (block.opcode != kLoop) block.branched_to = true;
      jump_if(condition_of(condition), block.opcode == kLoop ? block.start : block.end);
      return charge();
    }
  }
  branch_where(condition_of(condition), depth);
}

void FunctionCompiler::branch_table() {
  Value index = pop();
  u32 count = reader_.u32();
  std::vector<u32> depths(count + 1);
  for (u32& d : depths) d = reader_.u32();
  // Labels that nothing else jumps to: the register allocator wants the same registers behind all of them.
  std::vector<Label> pads(blocks_.size());
  std::vector<u32> to_make;
  auto target = [&](u32 depth) -> Label {
    if (!pads[depth].isValid()) {
      Block& block = block_at(depth);
      bool plain = depth + 1 != blocks_.size() && block.opcode != kLoop && block.out.empty();
      pads[depth] = cc_.newLabel();
      if (plain) block.pads.push_back(pads[depth]), block.branched_to = true;
      else to_make.push_back(depth);
    }
    return pads[depth];
  };
  // The last one is jumped to, and is none of them.
  Block& last = block_at(depths[count]);
  bool plain_last = depths[count] + 1 != blocks_.size() && (last.opcode == kLoop ? last.in : last.out).empty();
  Label otherwise = !plain_last ? cc_.newLabel() : last.opcode == kLoop ? last.start : last.end;
  if (plain_last && last.opcode != kLoop) last.branched_to = true;
  if (count != 0) {
    Gp i = gp(index);
    jump_unless_below(i, count, otherwise);
    JumpTable table{.at = cc_.newLabel()};
    JumpAnnotation* annotation = compiler_.newJumpAnnotation();
    for (u32 k = 0; k < count; ++k) {
      table.targets.push_back(target(depths[k]));
      if (!annotation->hasLabel(table.targets.back())) annotation->addLabel(table.targets.back());
    }
    jump_by_table(i, table.at, annotation);
    tables_.push_back(std::move(table));
  } else {
    jump(otherwise);
  }
  if (!plain_last) {
    cc_.bind(otherwise);
    branch(depths[count]);
  }
  for (u32 depth : to_make) {
    cc_.bind(pads[depth]);
    branch(depth);
  }
  dead_ = true;
}

}  // namespace monopod::wasm::jit
