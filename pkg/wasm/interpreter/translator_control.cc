// Translation of control flow: blocks, branches, returns, dead code.
#include "wasm/function_body.h"
#include "wasm/interpreter/translator.h"

namespace monopod::wasm {

using u16 = std::uint16_t;
using u32 = std::uint32_t;

// ---- control flow

void Translator::block(std::uint8_t opcode) {
  auto at = static_cast<u32>(reader_.offset() - 1);
  Entry condition;
  if (opcode == kIf) condition = pop();
  Label label{.opcode = opcode};
  read_block_type(reader_, module_, label.params, label.results);
  std::size_t count = label.params.size();
  // A comparison stays with its branch: what has to move home, moves before it only if nothing is there to move.
  bool moves = false;
  for (u32 i = flushed_; i < stack_.size() && !moves; ++i) moves = stack_[i].kind == Kind::kLocal;
  for (std::size_t i = stack_.size() - count; i < stack_.size() && !moves; ++i) moves = stack_[i].kind != Kind::kTemp;
  if (moves) {
    flush();
    settle_top(count);
  }
  flushed_ = static_cast<u32>(stack_.size());
  label.height = static_cast<u32>(stack_.size() - count);
  label.base = count == 0 ? narrow(top_) : stack_[label.height].home;
  if (opcode == kIf) {
    label.else_patch = static_cast<std::int32_t>(emit_condition(condition, true, false));
    begin_block();
  }
  if (opcode == kTryTable) {
    TryRegion region;
    u32 clauses = reader_.u32();
    u32 over = emit(handlers::kJump);
    auto height = static_cast<u32>(stack_.size());
    for (u32 k = 0; k < clauses; ++k) {
      std::uint8_t kind = reader_.byte();
      CatchClause clause{.tag = CatchClause::kAll, .with_reference = (kind & 1) != 0, .to = narrow(top_)};
      if (kind < 2) {
        clause.tag = reader_.u32();
        for (ValType t : module_.registry->type(module_.tags[clause.tag]).params) push(t);
      }
      if (clause.with_reference) push(make_ref(kHeapExn, false));
      clause.target = static_cast<u32>(code_->insns.size());
      begin_block();
      branch(reader_.u32());
      dead_ = false;
      truncate(height);
      region.clauses.push_back(clause);
    }
    code_->insns[over].i = static_cast<u32>(code_->insns.size()) - over;
    last_.valid = false;
    begin_block();
    region.from = static_cast<u32>(code_->insns.size());
    label.region = static_cast<std::int32_t>(open_regions_.size());
    open_regions_.push_back(std::move(region));
  }
  if (opcode == kLoop) {
    last_.valid = false;
    label.target = static_cast<u32>(code_->insns.size());
    if (counted_) emit(handlers::kWarmLoop, code_->header, 0, code_->function), word(0, 0, 0, at);
    begin_block();
  }
  labels_.push_back(std::move(label));
}

void Translator::bind(u32 at, Label& label) {
  if (label.opcode == kLoop) {
    code_->insns[at].i = label.target - at;
  } else {
    code_->insns[at].i = static_cast<u32>(label.patches);
    label.patches = static_cast<std::int32_t>(at);
  }
}

bool Translator::values_in_place(const Label& label) const {
  std::size_t count = label.carried().size();
  return count == 0 || stack_[stack_.size() - count].home == label.base;
}

// The top values to where the label wants them. Ascending: a target is never above its source.
void Translator::move_values(const Label& label) {
  std::size_t count = label.carried().size();
  if (count == 0) return;
  if (values_in_place(label)) return settle_top(count);
  if (count == 1 && stack_.back().kind == Kind::kTemp && last_.valid && last_.movable && last_.slot == stack_.back().home) {
    code_->insns[last_.at].a = label.base;
    last_.valid = false;
    return;
  }
  u32 to = label.base;
  for (std::size_t i = stack_.size() - count; i < stack_.size(); ++i) {
    const Entry& e = stack_[i];
    if (e.kind == Kind::kConst) emit_const(e.type, e.bits, narrow(to));
    else emit_move(e.type, narrow(to), slot_of(e));
    to += slots_of(e.type);
  }
}

void Translator::jump_to(Label& label) { bind(emit(label.opcode == kLoop ? handlers::kJumpBack : handlers::kJump), label); }

void Translator::emit_return() {
  std::size_t count = type_.results.size();
  u16 header = code_->header;
  if (count == 0) return void(emit(handlers::kReturnNone, header));
  if (count == 1) {
    Entry e = stack_.back();
    u16 from = in_slot(e);
    if (e.type == kV128) return void(emit(handlers::kReturnVector, header, from));
    bool last = is_last(e);  // not taken: after a conditional return the operand may be wanted again
    emit((is_float(e.type) ? handlers::kReturnFloat : handlers::kReturnInt)[last], header, from);
    return;
  }
  // Held-back operands go to their homes without forgetting, for the code behind a conditional return, that they are held back.
  u16 base = stack_[stack_.size() - count].home;
  for (std::size_t i = stack_.size() - count; i < stack_.size(); ++i) {
    const Entry& e = stack_[i];
    if (e.kind == Kind::kConst) emit_const(e.type, e.bits, e.home);
    else if (e.kind == Kind::kLocal) emit_move(e.type, e.home, local_slots_[e.local]);
  }
  emit(handlers::kReturnMany, header, base, type_.result_slots);
}

void Translator::branch(u32 depth) {
  if (depth + 1 == labels_.size()) {
    emit_return();
  } else {
    Label& label = label_at(depth);
    move_values(label);
    jump_to(label);
  }
  dead_ = true;
}

u32 Translator::emit_condition(Entry condition, bool when_false, bool back) {
  if (condition.kind == Kind::kTemp && is_last(condition) && last_.compare != 0 && last_.at + 1 == code_->insns.size()) {
    const Insn compare = code_->insns[last_.at];
    bool immediate = last_.pair == kSI || last_.pair == kLI;
    auto number = static_cast<std::int32_t>(compare.i);
    bool is_int = last_.compare < 0x5b;
    if (!immediate || (is_int && number >= -32768 && number <= 32767)) {
      const Handler* row = branch_handlers(last_.compare);
      int variant = last_.pair * 4 + (when_false ? 2 : 0) + (back ? 1 : 0);
      code_->insns.pop_back();
      return emit(row[variant], compare.b, compare.c());
    }
  }
  u16 slot = in_slot(condition);
  bool last = take_last(condition);
  return emit(handlers::kBranchIf[last][when_false][back], slot);
}

// The branch that instruction `over` jumps past where it is not taken.
void Translator::leave_over(u32 depth, u32 over) {
  if (depth + 1 == labels_.size()) {
    emit_return();
  } else {
    Label& label = label_at(depth);
    // As move_values, but nothing is settled: on the other path these operands are still held back.
    u32 to = label.base;
    for (std::size_t i = stack_.size() - label.carried().size(); i < stack_.size(); ++i) {
      const Entry& e = stack_[i];
      if (e.kind == Kind::kConst) emit_const(e.type, e.bits, narrow(to));
      else emit_move(e.type, narrow(to), slot_of(e));
      to += slots_of(e.type);
    }
    jump_to(label);
  }
  code_->insns[over].i = static_cast<u32>(code_->insns.size()) - over;
  begin_block();
}

void Translator::branch_if(u32 depth) {
  Entry condition = pop();
  if (depth + 1 < labels_.size()) {
    Label& label = label_at(depth);
    std::size_t count = label.carried().size();
    bool settled = values_in_place(label);
    for (std::size_t i = stack_.size() - count; i < stack_.size() && settled; ++i) settled = stack_[i].kind == Kind::kTemp;
    if (settled) {
      bind(emit_condition(condition, false, label.opcode == kLoop), label);
      return begin_block();
    }
  }
  u32 over = emit_condition(condition, true, false);
  leave_over(depth, over);
}

void Translator::branch_on_null(u32 depth, bool when_not_null) {
  Entry reference = pop();
  u16 slot = in_slot(reference);
  u32 over = emit(handlers::kBranchNull[!when_not_null][false], slot);
  if (when_not_null) {  // the reference is what the label's last value is
    stack_.push_back(reference);
    top_ += 1;
    if (reference.kind == Kind::kLocal) pending_[reference.local] = static_cast<std::int32_t>(stack_.size() - 1);
  }
  leave_over(depth, over);
  if (when_not_null) {
    pop();
  } else {
    Entry& e = push(reference.type);
    if (slot != e.home) emit_move(e.type, e.home, slot);
  }
}

void Translator::branch_table() {
  Entry index = pop();
  u32 count = reader_.u32();
  std::vector<u32> depths(count + 1);
  for (u32& d : depths) d = reader_.u32();
  std::size_t arity = label_at(depths.back()).carried().size();
  if (index.kind == Kind::kTemp && arity != 0) last_.valid = false;
  u16 slot = in_slot(index);
  bool last = arity == 0 && take_last(index);
  settle_top(arity);
  u32 at = emit(handlers::kBranchTable[last], slot, 0, count);
  for (u32 k = 0; k <= count; ++k) word(0);
  // One landing pad per label: moves its values and jumps.
  std::vector<std::int32_t> pads(labels_.size(), -1);
  for (u32 k = 0; k <= count; ++k) {
    u32 depth = depths[k];
    if (pads[depth] < 0) {
      if (depth + 1 != labels_.size() && label_at(depth).opcode == kLoop && values_in_place(label_at(depth))) {
        code_->insns[at + 1 + k].i = label_at(depth).target - at;
        continue;
      }
      pads[depth] = static_cast<std::int32_t>(code_->insns.size());
      last_.valid = false;
      branch(depth);
    }
    code_->insns[at + 1 + k].i = static_cast<u32>(pads[depth]) - at;
  }
  dead_ = true;
}

void Translator::start_else() {
  Label& label = labels_.back();
  if (!dead_) {
    settle_top(label.results.size());
    jump_to(label);
  }
  code_->insns[static_cast<std::size_t>(label.else_patch)].i = static_cast<u32>(code_->insns.size()) - static_cast<u32>(label.else_patch);
  label.else_patch = -1;
  label.opcode = kElse;
  truncate(label.height);
  for (ValType t : label.params) push(t);
  dead_ = false;
  begin_block();
}

void Translator::finish_block() {
  Label& label = labels_.back();
  if (!dead_) settle_top(label.results.size());
  if (label.region >= 0) {
    TryRegion region = std::move(open_regions_.back());
    open_regions_.pop_back();
    region.to = static_cast<u32>(code_->insns.size());
    code_->tries.push_back(std::move(region));
  }
  if (labels_.size() == 1) {
    if (!dead_) emit_return();
    labels_.pop_back();
    return;
  }
  bool reached = !dead_;
  if (label.else_patch >= 0) {
    code_->insns[static_cast<std::size_t>(label.else_patch)].i = static_cast<u32>(code_->insns.size()) - static_cast<u32>(label.else_patch);
    reached = true;
  }
  for (std::int32_t at = label.patches; at >= 0;) {
    Insn& insn = code_->insns[static_cast<std::size_t>(at)];
    auto next = static_cast<std::int32_t>(insn.i);
    insn.i = static_cast<u32>(code_->insns.size()) - static_cast<u32>(at);
    at = next;
    reached = true;
  }
  bool joins = fuel_ || label.patches >= 0 || label.else_patch >= 0;
  std::vector<ValType> results = std::move(label.results);
  u32 height = label.height;
  labels_.pop_back();
  dead_ = !reached;
  truncate(height);
  for (ValType t : results) push(t);
  if (joins && reached) begin_block();
}

}  // namespace monopod::wasm
