#include "wasm/interpreter/translator.h"

#include <bit>

#include "wasm/function_body.h"
#include "wasm/limits.h"

namespace monopod::wasm {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

namespace {

// Comparisons: i32 0x46.., i64 0x51.., f32 0x5b.., f64 0x61..
bool is_compare(u32 code) { return code >= 0x46 && code <= 0x66 && code != 0x50; }
// The opposite of an integer comparison or of eq and ne; 0 where there is none (NaN).
std::uint8_t opposite(std::uint8_t code) {
  static constexpr std::uint8_t kOpposite[] = {1, 0, 8, 9, 6, 7, 4, 5, 2, 3};  // eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u
  if (code >= 0x46 && code <= 0x4f) return static_cast<std::uint8_t>(0x46 + kOpposite[code - 0x46]);
  if (code >= 0x51 && code <= 0x5a) return static_cast<std::uint8_t>(0x51 + kOpposite[code - 0x51]);
  if (code == 0x5b || code == 0x61) return static_cast<std::uint8_t>(code + 1);
  if (code == 0x5c || code == 0x62) return static_cast<std::uint8_t>(code - 1);
  return 0;
}
bool is_commutative(u32 code) {
  switch (code) {
    case 0x46: case 0x47: case 0x51: case 0x52:                      // eq ne
    case 0x6a: case 0x6c: case 0x71: case 0x72: case 0x73:           // i32 add mul and or xor
    case 0x7c: case 0x7e: case 0x83: case 0x84: case 0x85: return true;
    default: return false;
  }
}

}  // namespace

std::unique_ptr<RegisterCode> translate(const ModuleData& module, std::uint32_t function, CodeOptions options) { return Translator(module, function, options).run(); }

Translator::Translator(const ModuleData& module, std::uint32_t function, CodeOptions options)
    : module_(module),
      type_(*module.function_types[function]),
      fuel_(options.fuel),
      deterministic_(options.deterministic),
      counted_(options.counted),
      reader_(module.bytes.data(), module.bytes.data() + module.functions[function].body.from, module.bytes.data() + module.functions[function].body.to),
      code_(std::make_unique<RegisterCode>()) {
  code_->function = function;
}

// ---- emission

u32 Translator::emit(Handler handler, u16 a, u16 b, u32 i) {
  last_.valid = false;
  code_->insns.push_back({handler, a, b, i});
  return static_cast<u32>(code_->insns.size() - 1);
}

void Translator::word(u64 bits, u16 a, u16 b, u32 i) { code_->insns.push_back({std::bit_cast<Handler>(bits), a, b, i}); }

void Translator::produced(u16 slot, ValType type, Handler alone, bool movable) {
  last_ = {.valid = true, .is_float = is_float(type), .movable = movable, .slot = slot, .at = static_cast<u32>(code_->insns.size() - 1), .alone = alone};
}

void Translator::emit_const(ValType type, u64 bits, u16 slot) {
  auto low = static_cast<u32>(bits);
  if (type == kF32) {
    emit(handlers::kConstF, slot, 0, low);
  } else if (type == kF64) {
    emit(handlers::kConst64F, slot);
    word(bits);
  } else if (bits == low || bits >> 32 == 0xffff'ffff) {
    emit(handlers::kConstI, slot, bits == low ? 0 : 0xffff, low);
  } else {
    emit(handlers::kConst64, slot);
    word(bits);
  }
  u32 at = static_cast<u32>(code_->insns.size()) - (type == kF64 || (type != kF32 && bits != low && bits >> 32 != 0xffff'ffff) ? 2 : 1);
  produced(slot, type, nullptr);
  last_.at = at;
}

void Translator::emit_move(ValType type, u16 to, u16 from) {
  if (to == from) return;
  emit(type == kV128 ? handlers::kMoveVector : handlers::kMove, to, from);
}

void Translator::begin_block() {
  if (fuel_) fuel_at_ = emit(handlers::kFuel);
  last_.valid = false;
}

// ---- operands

Translator::Entry& Translator::push(ValType type) {
  stack_.push_back({.type = type, .home = narrow(top_)});
  top_ += slots_of(type);
  if (top_ > top_max_) top_max_ = top_;
  return stack_.back();
}

void Translator::push_local(u32 local) {
  Entry& e = push(locals_[local]);
  e.kind = Kind::kLocal;
  e.local = local;
  e.below = pending_[local];
  pending_[local] = static_cast<std::int32_t>(stack_.size() - 1);
}

void Translator::push_const(ValType type, u64 bits) {
  Entry& e = push(type);
  e.kind = Kind::kConst;
  e.bits = bits;
}

Translator::Entry Translator::pop() {
  Entry e = stack_.back();
  stack_.pop_back();
  top_ = e.home;
  if (e.kind == Kind::kLocal) pending_[e.local] = e.below;
  if (flushed_ > stack_.size()) flushed_ = static_cast<u32>(stack_.size());
  return e;
}

u16 Translator::in_slot(Entry& e) {
  if (e.kind == Kind::kConst) {
    emit_const(e.type, e.bits, e.home);
    e.kind = Kind::kTemp;
  }
  return slot_of(e);
}

bool Translator::is_last(const Entry& e) const {
  return last_.valid && e.kind != Kind::kConst && e.type != kV128 && last_.slot == slot_of(e) && last_.is_float == is_float(e.type);
}

bool Translator::take_last(const Entry& e) {
  if (!is_last(e)) return false;
  if (e.kind == Kind::kTemp && last_.alone != nullptr) code_->insns[last_.at].handler = last_.alone;
  return true;
}

// Entries above that hold the same local stay in its list; only the one at index leaves it.
void Translator::settle(u32 index) {
  Entry& e = stack_[index];
  if (e.kind == Kind::kConst) {
    emit_const(e.type, e.bits, e.home);
  } else if (e.kind == Kind::kLocal) {
    emit_move(e.type, e.home, local_slots_[e.local]);
    std::int32_t* link = &pending_[e.local];
    while (*link != static_cast<std::int32_t>(index)) link = &stack_[static_cast<std::size_t>(*link)].below;
    *link = e.below;
  }
  e.kind = Kind::kTemp;
}

void Translator::settle_top(std::size_t count) {
  // From above: what holds the same local is then always the first of its list.
  for (std::size_t i = stack_.size(); i-- > stack_.size() - count;)
    if (stack_[i].kind != Kind::kTemp) settle(static_cast<u32>(i));
}

void Translator::flush() {
  for (u32 i = flushed_; i < stack_.size(); ++i) {
    Entry& e = stack_[i];
    if (e.kind != Kind::kLocal) continue;
    emit_move(e.type, e.home, local_slots_[e.local]);
    pending_[e.local] = -1;  // all of them are settled in this pass, and none below flushed_ is held
    e.kind = Kind::kTemp;
  }
  flushed_ = static_cast<u32>(stack_.size());
}

void Translator::truncate(u32 height) {
  while (stack_.size() > height) pop();
}

// ---- plain instructions

void Translator::binary(std::uint8_t code, const Op& op) {
  const Handler* row = binary_handlers(code);
  Entry right = pop(), left = pop();
  if (left.kind == Kind::kConst && right.kind != Kind::kConst && is_commutative(code)) std::swap(left.kind, right.kind), std::swap(left.local, right.local), std::swap(left.bits, right.bits), std::swap(left.home, right.home);
  u16 to = narrow(top_);
  bool immediate = false;
  u32 bits = static_cast<u32>(right.bits);
  if (right.kind == Kind::kConst) {
    if (right.type == kI32 || right.type == kF32) immediate = true;
    else if (right.type == kI64) immediate = static_cast<u64>(static_cast<std::int64_t>(static_cast<std::int32_t>(bits))) == right.bits;
    else {
      double value = std::bit_cast<double>(right.bits);
      auto half = static_cast<float>(value);
      if (value == value && std::bit_cast<u64>(static_cast<double>(half)) == right.bits) immediate = true, bits = std::bit_cast<u32>(half);
    }
  }
  std::uint8_t pair = kSS;
  if (immediate) {
    u16 l = in_slot(left);
    pair = take_last(left) ? kLI : kSI;
    emit(row[pair * 2], to, l, bits);
  } else {
    u16 l = in_slot(left), r = in_slot(right);
    pair = take_last(left) ? kLS : take_last(right) ? kSL : kSS;
    emit(row[pair * 2], to, l, r);
  }
  ValType result{op.result};
  push(result);
  produced(to, result, row[pair * 2 + 1]);
  last_.pair = pair;
  if (is_compare(code)) last_.compare = code;
  last_.is_sum = code == 0x6a && pair == kSS;
}

void Translator::unary(u32 code, const Op& op) {
  if (code == 0x45 || code == 0x50) {  // eqz: a comparison with 0, or the opposite of the comparison before
    if (code == 0x45 && stack_.back().kind == Kind::kTemp && is_last(stack_.back()) && last_.compare != 0 && last_.movable) {
      if (std::uint8_t turned = opposite(last_.compare); turned != 0) {
        const Handler* row = binary_handlers(turned);
        code_->insns[last_.at].handler = row[last_.pair * 2];
        last_.alone = row[last_.pair * 2 + 1];
        last_.compare = turned;
        return;
      }
    }
    push_const(code == 0x45 ? kI32 : kI64, 0);
    return binary(code == 0x45 ? 0x46 : 0x51, kOps.plain[code == 0x45 ? 0x46 : 0x51]);
  }
  const Handler* row = unary_handlers(static_cast<u16>(code));
  Entry e = pop();
  u16 from = in_slot(e), to = narrow(top_);
  bool last = take_last(e);
  emit(row[last ? 2 : 0], to, from);
  ValType result{op.result};
  push(result);
  produced(to, result, row[last ? 3 : 1]);
}

void Translator::memory_access(u32 code, const Op& op) {
  bool vector = code >= kPrefixSimd;
  bool is_store = op.result == 0;
  u32 flags = reader_.u32();
  u32 memory = (flags & 0x40) != 0 ? reader_.u32() : 0;
  bool raw = memory != 0 || module_.memories[memory].is64;
  u64 offset = module_.memories[memory].is64 ? reader_.u64() : reader_.u32();
  std::uint8_t lane = has_lane(op.immediates) ? reader_.byte() : std::uint8_t{0};
  bool lanes = has_lane(op.immediates);
  Entry value;
  bool has_value = is_store || lanes;
  if (has_value) value = pop();
  Entry address = pop();
  u16 to = narrow(top_);
  u32 bytes = 1u << natural_alignment(op.immediates);
  ValType result{op.result};

  int value_source = kSlot;
  if (has_value && !vector && value.kind == Kind::kConst && !is_float(value.type)) {
    auto number = static_cast<std::int64_t>(value.type == kI32 ? static_cast<std::int32_t>(value.bits) : static_cast<std::int64_t>(value.bits));
    if (number >= -32768 && number <= 32767) value_source = kImmediate;
  }
  if (has_value && value_source == kSlot) in_slot(value);

  if (raw) {
    u16 at = in_slot(address);
    emit(handlers::kAddress, narrow(memory), at, bytes);
    word(offset);
  }
  int place = raw ? kAddressRaw : kAddressSlot;
  u16 b = 0;
  auto i = static_cast<u32>(offset);
  if (!raw) {
    const Insn* sum = last_.valid && last_.is_sum && address.kind == Kind::kTemp && last_.slot == address.home && last_.at + 1 == code_->insns.size() ? &code_->insns[last_.at] : nullptr;
    if (sum != nullptr && !vector && offset <= 0xffff) {
      place = kAddressSum;
      b = sum->b;
      i = sum->c() | static_cast<u32>(offset) << 16;
      code_->insns.pop_back();
      last_.valid = false;
    } else {
      b = in_slot(address);
      if (!vector) {
        if (is_last(address)) {
          take_last(address);
          place = kAddressLast;
        } else if (is_store && value_source == kSlot && take_last(value)) {
          value_source = kLast;
        }
      }
    }
  }
  if (vector) {
    Handler h = simd_handler(code & 0xfff, raw);
    emit(h, is_store ? slot_of(value) : to, b, i);
    if (!is_store) {
      push(kV128);
      produced(to, kV128, nullptr);
    }
    if (lanes) word(0, slot_of(value), lane);
    return;
  }
  if (is_store) {
    const Handler* row = store_handlers(static_cast<std::uint8_t>(code));
    u16 a = value_source == kImmediate ? static_cast<u16>(value.bits) : slot_of(value);
    emit(row[place * 3 + value_source], a, b, i);
    return;
  }
  const Handler* row = load_handlers(static_cast<std::uint8_t>(code));
  emit(row[place * 2], to, b, i);
  push(result);
  produced(to, result, row[place * 2 + 1]);
}

// Operands in b, c, d; lanes behind them.
void Translator::simd(u32 code, const Op& op) {
  u32 sub = code & 0xfff;
  if (sub == kV128Const) {
    u16 to = push(kV128).home;
    emit(handlers::kConstV, to);
    produced(to, kV128, nullptr);
    Insn bits;
    std::memcpy(static_cast<void*>(&bits), reader_.bytes(16).data(), 16);
    code_->insns.push_back(bits);
    return;
  }
  std::span<const std::uint8_t> shuffle;
  if (sub == kI8x16Shuffle) shuffle = reader_.bytes(16);
  std::uint8_t lane = op.immediates == Immediates::Lane ? reader_.byte() : std::uint8_t{0};
  Entry operands[3];
  u16 slots[4] = {};
  for (u32 k = op.operand_count; k-- > 0;) operands[k] = pop();
  for (u32 k = 0; k < op.operand_count; ++k) slots[k] = in_slot(operands[k]);
  slots[op.operand_count] = lane;
  u16 to = push({op.result}).home;
  emit(simd_handler(sub, false), to, slots[0], slots[1] | static_cast<u32>(slots[2]) << 16);
  if (op.result == kV128.bits) produced(to, kV128, nullptr);
  if (sub == kI8x16Shuffle) {
    Insn lanes;
    std::memcpy(static_cast<void*>(&lanes), shuffle.data(), 16);
    code_->insns.push_back(lanes);
  }
}

void Translator::canonicalise(NanShape shape) {
  Entry e = pop();
  u16 from = in_slot(e), to = narrow(top_);
  if (shape == NanShape::kF32x4 || shape == NanShape::kF64x2) {
    emit(simd_handler(shape == NanShape::kF32x4 ? kCanonicalF32x4 : kCanonicalF64x2, false), to, from);
    push(kV128);
    return produced(to, kV128, nullptr);
  }
  const Handler* row = unary_handlers(shape == NanShape::kF32 ? kCanonicalFloat : kCanonicalDouble);
  bool last = take_last(e);
  emit(row[last ? 2 : 0], to, from);
  push(e.type);
  produced(to, e.type, row[last ? 3 : 1]);
}

void Translator::simple(u32 code, const Op& op) {
  if (is_memory(op.immediates)) return memory_access(code, op);
  if (code >= kPrefixSimd) simd(code, op);
  else if (op.operand_count == 2) binary(static_cast<std::uint8_t>(code), op);
  else unary(code, op);
  if (NanShape shape = deterministic_ ? nan_shape(code) : NanShape::kNone; shape != NanShape::kNone) canonicalise(shape);
}

void Translator::select(ValType type) {
  Entry condition = pop(), second = pop(), first = pop();
  if (type == kBottom) type = first.type;
  u16 a = in_slot(first), b = in_slot(second), c = in_slot(condition), to = narrow(top_);
  bool last = take_last(condition);
  const Handler* row = type == kV128 ? handlers::kSelectVector : is_float(type) ? handlers::kSelectFloat : handlers::kSelectInt;
  emit(row[last], to, a, b | static_cast<u32>(c) << 16);
  push(type);
  produced(to, type, nullptr);
}

void Translator::set_local(u32 local) {
  Entry value = pop();
  u16 to = local_slots_[local];
  if (value.kind == Kind::kLocal && value.local == local) return;
  while (pending_[local] >= 0) settle(static_cast<u32>(pending_[local]));
  if (value.kind == Kind::kConst) return emit_const(value.type, value.bits, to);
  if (value.kind == Kind::kTemp && last_.valid && last_.movable && last_.slot == value.home) {
    code_->insns[last_.at].a = to;
    last_.slot = to;
    last_.alone = nullptr;
    last_.compare = 0;
    last_.is_sum = false;
    return;
  }
  emit_move(value.type, to, slot_of(value));
}

void Translator::call(const FuncType& type, std::uint8_t opcode) {
  bool tail = opcode == kReturnCall || opcode == kReturnCallIndirect || opcode == kReturnCallRef;
  u32 function = 0, type_number = 0, table = 0;
  Entry target;
  if (opcode == kCall || opcode == kReturnCall) {
    function = static_cast<u32>(reader_.u32());
  } else {
    type_number = module_.types[reader_.u32()];
    if (opcode == kCallIndirect || opcode == kReturnCallIndirect) table = reader_.u32();
    target = pop();
    in_slot(target);
  }
  std::size_t count = type.params.size();
  u16 target_slot = slot_of(target);
  settle_top(count);
  u16 base = count == 0 ? narrow(top_) : stack_[stack_.size() - count].home;
  truncate(static_cast<u32>(stack_.size() - count));
  bool import = opcode <= kReturnCallIndirect && module_.functions[function].imported && (opcode == kCall || opcode == kReturnCall);
  if (tail && !import) {
    if (opcode == kReturnCall) emit(handlers::kTailCall, 0, 0, function);
    else if (opcode == kReturnCallRef) emit(handlers::kTailCallReference, 0, target_slot);
    else emit(handlers::kTailCallIndirect, 0, target_slot, type_number), word(0, 0, 0, table);
    word(0, base, code_->header, type.param_slots | type.result_slots << 16);
    dead_ = true;
    // Arguments and results move to the start of the frame.
    top_max_ = std::max(top_max_, std::max(type.param_slots, type.result_slots));
    if (base + type.result_slots > top_max_) top_max_ = base + type.result_slots;
    return;
  }
  if (import) emit(handlers::kCallImport, base, 0, function);
  else if (opcode == kCall) emit(handlers::kCall, base, 0, function);
  else if (opcode == kCallRef) emit(handlers::kCallReference, base, target_slot);
  else emit(handlers::kCallIndirect, 0, target_slot, type_number), word(0, base, 0, table);
  for (ValType result : type.results) push(result);
  if (opcode == kCall && !import && type.results.size() == 1) produced(base, type.results[0], nullptr, false);
  if (tail) {
    emit_return();
    dead_ = true;
  }
}

void Translator::misc() {
  u32 code = reader_.u32();
  if (code < 8) return simple(kPrefixMisc + code, kOps.misc[code]);
  u32 first = reader_.u32(), second = 0;
  if (code == kMemoryInit || code == kMemoryCopy || code == kTableInit || code == kTableCopy) second = reader_.u32();
  if (code == kDataDrop) return void(emit(handlers::kDataDrop, 0, 0, first));
  if (code == kElemDrop) return void(emit(handlers::kElementsDrop, 0, 0, first));
  if (code == kTableSize) {
    u16 to = push(module_.tables[first].type.limits.is64 ? kI64 : kI32).home;
    return void(emit(handlers::kTableSize, to, 0, first));
  }
  Entry c = pop(), b = pop();
  if (code == kTableGrow) {
    u16 value = in_slot(b), count = in_slot(c), to = narrow(top_);
    emit(handlers::kTableGrow, to, value, count);
    word(0, 0, 0, first);
    push(module_.tables[first].type.limits.is64 ? kI64 : kI32);
    return;
  }
  Entry a = pop();
  u16 to = in_slot(a), from = in_slot(b), count = in_slot(c);
  switch (code) {
    case kMemoryInit: emit(handlers::kMemoryInit, to, from, count), word(0, narrow(second), 0, first); break;
    case kMemoryCopy: emit(handlers::kMemoryCopy, to, from, count), word(0, narrow(first), 0, second); break;
    case kMemoryFill: emit(handlers::kMemoryFill, to, from, count), word(0, 0, 0, first); break;
    case kTableInit: emit(handlers::kTableInit, to, from, count), word(0, 0, 0, first), word(0, 0, 0, second); break;
    case kTableCopy: emit(handlers::kTableCopy, to, from, count), word(0, 0, 0, first), word(0, 0, 0, second); break;
    case kTableFill: emit(handlers::kTableFill, to, from, count), word(0, 0, 0, first); break;
    default: break;
  }
}

void Translator::step() {
  std::uint8_t code = reader_.byte();
  if (fuel_) ++code_->insns[fuel_at_].i;
  switch (code) {
    case kUnreachable: emit(handlers::kUnreachable), dead_ = true; break;
    case kNop: break;
    case kBlock: case kLoop: case kIf: case kTryTable: block(code); break;
    case kElse: start_else(); break;
    case kEnd: finish_block(); break;
    case kThrow: {
      u32 tag = reader_.u32();
      const FuncType& type = module_.registry->type(module_.tags[tag]);
      settle_top(type.params.size());
      u16 base = type.params.empty() ? narrow(top_) : stack_[stack_.size() - type.params.size()].home;
      emit(handlers::kThrow, base, narrow(type.param_slots), tag);
      dead_ = true;
      break;
    }
    case kThrowRef: {
      Entry e = pop();
      u16 slot = in_slot(e);
      emit(handlers::kThrowRef, slot);
      dead_ = true;
      break;
    }
    case kBr: branch(reader_.u32()); break;
    case kBrIf: branch_if(reader_.u32()); break;
    case kBrTable: branch_table(); break;
    case kReturn: emit_return(), dead_ = true; break;
    case kCall: case kReturnCall: {
      Reader ahead = reader_;
      call(*module_.function_types[ahead.u32()], code);
      break;
    }
    case kCallIndirect: case kReturnCallIndirect: case kCallRef: case kReturnCallRef: {
      Reader ahead = reader_;
      call(*module_.type_of[ahead.u32()], code);
      break;
    }
    case kDrop: pop(); break;
    case kSelect: select(kBottom); break;
    case kSelectTyped: {
      reader_.u32();
      select(read_value_type(reader_, module_));
      break;
    }
    case kLocalGet: push_local(reader_.u32()); break;
    case kLocalSet: set_local(reader_.u32()); break;
    case kLocalTee: {
      u32 local = reader_.u32();
      set_local(local);
      push_local(local);
      break;
    }
    case kGlobalGet: {
      u32 index = reader_.u32();
      ValType type = module_.globals[index].type.type;
      u16 to = push(type).home;
      emit(type == kV128 ? handlers::kGlobalGetVector : is_float(type) ? handlers::kGlobalGetFloat : handlers::kGlobalGetInt, to, 0, index);
      produced(to, type, nullptr);
      break;
    }
    case kGlobalSet: {
      u32 index = reader_.u32();
      Entry e = pop();
      u16 slot = in_slot(e);
      emit(e.type == kV128 ? handlers::kGlobalSetVector : handlers::kGlobalSet, slot, 0, index);
      break;
    }
    case kTableGet: {
      u32 table = reader_.u32();
      Entry e = pop();
      u16 slot = in_slot(e);
      u16 to = push(module_.tables[table].type.element).home;
      emit(handlers::kTableGet, to, slot, table);
      break;
    }
    case kTableSet: {
      u32 table = reader_.u32();
      Entry value = pop(), at = pop();
      u16 v = in_slot(value), slot = in_slot(at);
      emit(handlers::kTableSet, v, slot, table);
      break;
    }
    case kMemorySize: {
      u32 memory = reader_.u32();
      ValType type = module_.memories[memory].is64 ? kI64 : kI32;
      u16 to = push(type).home;
      emit(handlers::kMemorySize, to, 0, memory);
      produced(to, type, nullptr);
      break;
    }
    case kMemoryGrow: {
      u32 memory = reader_.u32();
      Entry e = pop();
      u16 slot = in_slot(e);
      u16 to = push(e.type).home;
      emit(handlers::kMemoryGrow, to, slot, memory);
      break;
    }
    case kI32Const: push_const(kI32, static_cast<u32>(reader_.s32())); break;
    case kI64Const: push_const(kI64, static_cast<u64>(reader_.s64())); break;
    case kF32Const: push_const(kF32, reader_.raw<u32>()); break;
    case kF64Const: push_const(kF64, reader_.raw<u64>()); break;
    case kRefNull: push_const(make_ref(read_heap_type(reader_, module_), true), 0); break;
    case kRefIsNull: {
      Entry e = pop();
      in_slot(e);
      e.type = kI64;  // a null reference is a zero
      stack_.push_back(e);
      top_ += 1;
      if (e.kind == Kind::kLocal) pending_[e.local] = static_cast<std::int32_t>(stack_.size() - 1);
      unary(0x50, kOps.plain[0x50]);
      break;
    }
    case kRefFunc: {
      u32 index = reader_.u32();
      u16 to = push(make_ref(module_.functions[index].type, false)).home;
      emit(handlers::kRefFunc, to, 0, index);
      break;
    }
    case kRefAsNonNull: {
      Entry& e = stack_.back();
      if (e.kind != Kind::kTemp) settle(static_cast<u32>(stack_.size() - 1));
      emit(handlers::kRefAsNonNull, stack_.back().home);
      break;
    }
    case kBrOnNull: branch_on_null(reader_.u32(), false); break;
    case kBrOnNonNull: branch_on_null(reader_.u32(), true); break;
    case kPrefixByteMisc: misc(); break;
    case kPrefixByteSimd: {
      u32 sub = reader_.u32();
      simple(kPrefixSimd + sub, kOps.simd[sub]);
      break;
    }
    default: simple(code, kOps.plain[code]);
  }
}

std::unique_ptr<RegisterCode> Translator::run() {
  locals_.assign(type_.params.begin(), type_.params.end());
  for (u32 groups = reader_.u32(); groups-- > 0;) {
    u32 count = reader_.u32();
    locals_.resize(locals_.size() + count, read_value_type(reader_, module_));
  }
  u32 slot = 0;
  local_slots_.reserve(locals_.size());
  for (ValType t : locals_) {
    local_slots_.push_back(narrow(slot));
    slot += slots_of(t);
  }
  pending_.assign(locals_.size(), -1);
  code_->header = narrow(slot);
  top_ = top_max_ = slot + 1;
  u32 zeroed = slot - type_.param_slots;
  emit(zeroed == 0 ? handlers::kEnter : handlers::kEnterZero, code_->header, narrow(zeroed));
  if (counted_) emit(handlers::kWarmCall, 0, 0, code_->function);
  begin_block();
  labels_.push_back({.opcode = kBlock, .base = narrow(top_), .results = type_.results});
  while (!labels_.empty()) {
    if (dead_) skip_dead_code(reader_, module_);
    auto before = static_cast<u32>(code_->insns.size());
    auto offset = static_cast<u32>(reader_.offset());
    step();
    if (code_->insns.size() > before) code_->places.emplace_back(before, offset);
  }
  code_->insns[0].i = std::max(top_max_, type_.result_slots) + 1;
  code_->insns.shrink_to_fit();
  code_->places.shrink_to_fit();
  return std::move(code_);
}

}  // namespace monopod::wasm
