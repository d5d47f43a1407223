#include "wasm/validator.h"

#include "base/strings.h"
#include "wasm/limits.h"

namespace monopod::wasm {
namespace {

constexpr ValType kSingles[] = {kV128, kF64, kF32, kI64, kI32};  // by code - 0x7b

}  // namespace

void Validator::mismatch(Reader& r, ValType wanted, ValType found) {
  if (r.failed()) return;
  detail_ = cat("expected ", format_type(wanted), ", found ", found == kBottom ? "nothing" : format_type(found));
  r.fail_at("type mismatch", op_at_);
}

ValType Validator::pop(Reader& r) {
  if (size_ == height_) {
    if (!blocks_.back().unreachable && !r.failed()) {
      detail_ = "an operand is missing";
      r.fail_at("type mismatch", op_at_);
    }
    return kBottom;
  }
  ValType type = stack_[--size_];
  slots_ -= type == kV128 ? 2 : 1;
  return type;
}

void Validator::pop_slow(Reader& r, ValType wanted) {
  if (size_ == height_) {
    if (!blocks_.back().unreachable) mismatch(r, wanted, kBottom);
    return;
  }
  ValType found = pop(r);
  if (!matches(found, wanted)) mismatch(r, wanted, found);
}

void Validator::pop_all(Reader& r, Types types) {
  for (std::uint32_t i = types.count; i-- > 0;) pop(r, types.at[i]);
}

void Validator::unreachable() {
  blocks_.back().unreachable = true;
  while (size_ > height_) slots_ -= stack_[--size_] == kV128 ? 2 : 1;
}

void Validator::enter(std::uint8_t opcode, Types params, Types results) {
  height_ = static_cast<std::uint32_t>(size_);
  blocks_.push_back({opcode, false, height_, static_cast<std::uint32_t>(set_.size()), params.at, params.count, results.at, results.count});
  push_all(params);
}

bool Validator::unknown(Reader& r, std::uint32_t index, std::size_t count, const char* why) {
  if (!r.failed()) {
    detail_ = cat("index ", index, " of ", count);
    r.fail_at(why, op_at_);
  }
  return false;
}

Validator::Types Validator::label(Reader& r, std::uint32_t depth) {
  if (!known(r, depth, blocks_.size(), "unknown label")) return {nullptr, 0};
  return label_of(blocks_[blocks_.size() - 1 - depth]);
}

ValType Validator::memory_address(Reader& r, std::uint32_t memory) {
  if (!known(r, memory, module_.memories.size(), "unknown memory")) return kBottom;
  return module_.memories[memory].is64 ? kI64 : kI32;
}

ValType Validator::table_address(Reader& r, std::uint32_t table) {
  if (!known(r, table, module_.tables.size(), "unknown table")) return kBottom;
  return module_.tables[table].type.limits.is64 ? kI64 : kI32;
}

const FuncType* Validator::type_at(Reader& r, std::uint32_t index) {
  if (!known(r, index, module_.types.size(), "unknown type")) return nullptr;
  return module_.type_of[index];
}

const FuncType* Validator::typed_reference(Reader& r, std::uint32_t index) {
  const FuncType* type = type_at(r, index);
  if (type != nullptr) pop(r, make_ref(module_.types[index], true));
  return type;
}

void Validator::simple(Reader& r, const Op& op) {
  if (op.name == nullptr) return r.fail_at("illegal opcode", op_at_);
  ValType address = kI32;
  if (is_memory(op.immediates)) {
    std::uint32_t flags = r.u32();
    std::uint32_t memory = 0;
    if (flags & 0x40) {
      memory = r.u32();
      flags &= ~0x40u;
    }
    if (flags >= 0x40) return r.fail("malformed memop flags");
    address = memory_address(r, memory);
    const std::uint8_t* at = r.at();
    std::uint64_t offset = address == kI64 ? r.u64() : r.u32();
    (void)offset, (void)at;
    if (flags > natural_alignment(op.immediates)) return r.fail_at("alignment must not be larger than natural", op_at_);
  }
  if (has_lane(op.immediates)) {
    std::uint32_t lanes = 0;
    if (op.immediates == Immediates::Lane) {
      char shape = op.name[1] == '8' ? 16 : op.name[1] == '1' ? 8 : op.name[1] == '3' ? 4 : 2;
      lanes = static_cast<std::uint32_t>(shape);
    } else {
      lanes = 16u >> natural_alignment(op.immediates);
    }
    if (r.byte() >= lanes) return r.fail("invalid lane index");
  }
  for (std::uint32_t i = op.operand_count; i-- > 0;) pop(r, op.operands[i] == 0 ? address : ValType{op.operands[i]});
  if (op.result != 0) push({op.result});
}

void Validator::block(Reader& r, std::uint8_t opcode) {
  if (opcode == kIf) pop(r, kI32);
  Types params{nullptr, 0}, results{nullptr, 0};
  std::uint8_t first = r.peek();
  if (first == 0x40) {
    r.byte();
  } else if (first >= 0x7b && first <= 0x7f) {
    r.byte();
    results = {&kSingles[first - 0x7b], 1};
  } else if ((first & 0xc0) == 0x40) {
    ValType type = read_value_type(r, module_);
    singles_.push_back(std::make_unique<ValType>(type));
    results = {singles_.back().get(), 1};
  } else {
    std::int64_t index = r.s33();
    if (r.failed()) return;
    if (index < 0) return r.fail_at("unknown type", op_at_);
    const FuncType* type = type_at(r, static_cast<std::uint32_t>(index));
    if (type == nullptr) return;
    params = {type->params.data(), static_cast<std::uint32_t>(type->params.size())};
    results = {type->results.data(), static_cast<std::uint32_t>(type->results.size())};
  }
  if (opcode == kTryTable) {
    std::uint32_t clauses = r.count(kBranchTableMax, 2, "too many catch clauses");
    for (std::uint32_t i = 0; i < clauses && !r.failed(); ++i) {
      std::uint8_t kind = r.byte();
      if (kind > 3) return r.fail("malformed catch clause");
      std::vector<ValType> carried;
      if (kind < 2) {
        std::uint32_t tag = r.u32();
        if (!known(r, tag, module_.tags.size(), "unknown tag")) return;
        carried = module_.registry->type(module_.tags[tag]).params;
      }
      if (kind & 1) carried.push_back(make_ref(kHeapExn, false));
      Types target = label(r, r.u32());
      if (r.failed()) return;
      bool same = carried.size() == target.count;
      for (std::uint32_t k = 0; same && k < target.count; ++k) same = matches(carried[k], target.at[k]);
      if (!same) return detail_ = "what the clause catches is not what its label takes", r.fail_at("type mismatch", op_at_);
    }
  }
  if (r.failed()) return;
  if (blocks_.size() >= kBlockDepthMax) return r.fail_at("too many nested blocks", op_at_);
  pop_all(r, params);
  enter(opcode, params, results);
}

void Validator::end(Reader& r) {
  Block b = blocks_.back();
  if (b.opcode == kIf) {  // without else: what goes in comes out
    bool same = b.param_count == b.result_count;
    for (std::uint32_t i = 0; same && i < b.param_count; ++i) same = matches(b.params[i], b.results[i]);
    if (!same) return detail_ = "an if without else gives what it takes", r.fail_at("type mismatch", op_at_);
  }
  pop_all(r, {b.results, b.result_count});
  if (size_ != height_) return detail_ = "operands are left at the end of a block", r.fail_at("type mismatch", op_at_);
  blocks_.pop_back();
  while (set_.size() > b.initialised) {
    unset_[set_.back()] = true;
    set_.pop_back();
  }
  if (blocks_.empty()) return;
  height_ = blocks_.back().height;
  push_all({b.results, b.result_count});
}

void Validator::branch_table(Reader& r) {
  pop(r, kI32);
  std::uint32_t count = r.count(kBranchTableMax, 1, "br_table too large");
  std::vector<std::uint32_t> depths(count);
  for (std::uint32_t& d : depths) d = r.u32();
  std::uint32_t last = r.u32();
  Types fallback = label(r, last);
  if (r.failed()) return;
  std::uint32_t seen = ~0u;
  for (std::uint32_t d : depths) {
    if (d == seen || d == last) continue;
    seen = d;
    Types types = label(r, d);
    if (r.failed()) return;
    if (types.count != fallback.count) return detail_ = "labels of a br_table differ in arity", r.fail_at("type mismatch", op_at_);
    // Operands are looked at and stay: in unreachable code they may match labels of different types.
    for (std::uint32_t i = types.count, at = 0; i-- > 0; ++at) {
      if (size_ - at == height_) {
        if (!blocks_.back().unreachable) return mismatch(r, types.at[i], kBottom);
        break;
      }
      ValType found = stack_[size_ - 1 - at];
      if (!matches(found, types.at[i])) return mismatch(r, types.at[i], found);
    }
  }
  pop_all(r, fallback);
  unreachable();
}

void Validator::call(Reader& r, const FuncType& type, bool tail) {
  pop_all(r, {type.params.data(), static_cast<std::uint32_t>(type.params.size())});
  if (!tail) return push_all({type.results.data(), static_cast<std::uint32_t>(type.results.size())});
  const Block& whole = blocks_.front();
  bool same = type.results.size() == whole.result_count;
  for (std::uint32_t i = 0; same && i < whole.result_count; ++i) same = matches(type.results[i], whole.results[i]);
  if (!same) return detail_ = "a tail call gives something else than its caller", r.fail_at("type mismatch", op_at_);
  unreachable();
}

void Validator::select_typed(Reader& r) {
  std::uint32_t count = r.count(kResultsMax, 1, "invalid result arity");
  if (count != 1) return r.fail_at("invalid result arity", op_at_);
  ValType type = read_value_type(r, module_);
  pop(r, kI32);
  pop(r, type);
  pop(r, type);
  push(type);
}

void Validator::misc(Reader& r) {
  std::uint32_t code = r.u32();
  if (r.failed()) return;
  if (code < 8) return simple(r, kOps.misc[code]);
  switch (code) {
    case kMemoryInit: {
      std::uint32_t segment = r.u32();
      ValType address = memory_address(r, r.u32());
      if (!module_.data_count) return r.fail_at("data count section required", op_at_);
      if (!known(r, segment, *module_.data_count, "unknown data segment")) return;
      pop(r, kI32), pop(r, kI32), pop(r, address);
      return;
    }
    case kDataDrop: {
      std::uint32_t segment = r.u32();
      if (!module_.data_count) return r.fail_at("data count section required", op_at_);
      known(r, segment, *module_.data_count, "unknown data segment");
      return;
    }
    case kMemoryCopy: {
      ValType to = memory_address(r, r.u32()), from = memory_address(r, r.u32());
      pop(r, to == kI64 && from == kI64 ? kI64 : kI32), pop(r, from), pop(r, to);
      return;
    }
    case kMemoryFill: {
      ValType address = memory_address(r, r.u32());
      pop(r, address), pop(r, kI32), pop(r, address);
      return;
    }
    case kTableInit: {
      std::uint32_t segment = r.u32(), table = r.u32();
      ValType address = table_address(r, table);
      if (!known(r, segment, module_.elements.size(), "unknown elem segment") || r.failed()) return;
      if (!matches(module_.elements[segment].type, module_.tables[table].type.element)) return mismatch(r, module_.tables[table].type.element, module_.elements[segment].type);
      pop(r, kI32), pop(r, kI32), pop(r, address);
      return;
    }
    case kElemDrop: known(r, r.u32(), module_.elements.size(), "unknown elem segment"); return;
    case kTableCopy: {
      std::uint32_t to = r.u32(), from = r.u32();
      ValType to_address = table_address(r, to), from_address = table_address(r, from);
      if (r.failed()) return;
      if (!matches(module_.tables[from].type.element, module_.tables[to].type.element)) return mismatch(r, module_.tables[to].type.element, module_.tables[from].type.element);
      pop(r, to_address == kI64 && from_address == kI64 ? kI64 : kI32), pop(r, from_address), pop(r, to_address);
      return;
    }
    case kTableGrow:
    case kTableFill: {
      std::uint32_t table = r.u32();
      ValType address = table_address(r, table);
      if (r.failed()) return;
      ValType element = module_.tables[table].type.element;
      pop(r, address), pop(r, element);
      if (code == kTableGrow) push(address);
      else pop(r, address);
      return;
    }
    case kTableSize: {
      ValType address = table_address(r, r.u32());
      push(address);
      return;
    }
    default: r.fail_at("illegal opcode", op_at_);
  }
}

void Validator::step(Reader& r) {
  op_at_ = r.at();
  std::uint8_t code = r.byte();
  switch (code) {
    case kUnreachable: unreachable(); break;
    case kNop: break;
    case kBlock:
    case kLoop:
    case kIf:
    case kTryTable: block(r, code); break;
    case kElse: {
      Block& b = blocks_.back();
      if (b.opcode != kIf) return r.fail_at("else without if", op_at_);
      pop_all(r, {b.results, b.result_count});
      if (size_ != height_) return detail_ = "operands are left at the end of a block", r.fail_at("type mismatch", op_at_);
      while (set_.size() > b.initialised) unset_[set_.back()] = true, set_.pop_back();
      b.opcode = kElse;
      b.unreachable = false;
      push_all({b.params, b.param_count});
      break;
    }
    case kEnd: end(r); break;
    case kThrow: {
      std::uint32_t tag = r.u32();
      if (!known(r, tag, module_.tags.size(), "unknown tag")) return;
      const FuncType& type = module_.registry->type(module_.tags[tag]);
      pop_all(r, {type.params.data(), static_cast<std::uint32_t>(type.params.size())});
      unreachable();
      break;
    }
    case kThrowRef:
      pop(r, kExnRef);
      unreachable();
      break;
    case kBr:
      pop_all(r, label(r, r.u32()));
      if (!r.failed()) unreachable();
      break;
    case kBrIf: {
      pop(r, kI32);
      Types types = label(r, r.u32());
      pop_all(r, types);
      push_all(types);
      break;
    }
    case kBrTable: branch_table(r); break;
    case kReturn: {
      const Block& whole = blocks_.front();
      pop_all(r, {whole.results, whole.result_count});
      unreachable();
      break;
    }
    case kCall:
    case kReturnCall: {
      std::uint32_t index = r.u32();
      if (known(r, index, module_.functions.size(), "unknown function")) call(r, *module_.function_types[index], code == kReturnCall);
      break;
    }
    case kCallIndirect:
    case kReturnCallIndirect: {
      std::uint32_t index = r.u32(), table = r.u32();
      ValType address = table_address(r, table);
      const FuncType* type = type_at(r, index);
      if (type == nullptr || r.failed()) return;
      if (!matches(module_.tables[table].type.element, kFuncRef)) return mismatch(r, kFuncRef, module_.tables[table].type.element);
      pop(r, address);
      call(r, *type, code == kReturnCallIndirect);
      break;
    }
    case kCallRef:
    case kReturnCallRef:
      if (const FuncType* type = typed_reference(r, r.u32()); type != nullptr) call(r, *type, code == kReturnCallRef);
      break;
    case kDrop: pop(r); break;
    case kSelect: {
      pop(r, kI32);
      ValType b = pop(r), a = pop(r);
      if (a.is_ref() || b.is_ref()) return detail_ = "select of references names its type", r.fail_at("type mismatch", op_at_);
      if (a != b && a != kBottom && b != kBottom) return mismatch(r, a, b);
      push(a == kBottom ? b : a);
      break;
    }
    case kSelectTyped: select_typed(r); break;
    case kLocalGet: {
      std::uint32_t index = r.u32();
      if (!known(r, index, locals_.size(), "unknown local")) return;
      if (any_unset_ && unset_[index]) return r.fail_at("uninitialized local", op_at_);
      push(locals_[index]);
      break;
    }
    case kLocalSet:
    case kLocalTee: {
      std::uint32_t index = r.u32();
      if (!known(r, index, locals_.size(), "unknown local")) return;
      pop(r, locals_[index]);
      if (any_unset_ && unset_[index]) unset_[index] = false, set_.push_back(index);
      if (code == kLocalTee) push(locals_[index]);
      break;
    }
    case kGlobalGet: {
      std::uint32_t index = r.u32();
      if (known(r, index, module_.globals.size(), "unknown global")) push(module_.globals[index].type.type);
      break;
    }
    case kGlobalSet: {
      std::uint32_t index = r.u32();
      if (!known(r, index, module_.globals.size(), "unknown global")) return;
      if (!module_.globals[index].type.is_mutable) return r.fail_at("global is immutable", op_at_);
      pop(r, module_.globals[index].type.type);
      break;
    }
    case kTableGet:
    case kTableSet: {
      std::uint32_t table = r.u32();
      ValType address = table_address(r, table);
      if (r.failed()) return;
      if (code == kTableSet) pop(r, module_.tables[table].type.element);
      pop(r, address);
      if (code == kTableGet) push(module_.tables[table].type.element);
      break;
    }
    case kMemorySize:
    case kMemoryGrow: {
      std::uint32_t memory = module_.level == Level::kCore2 ? r.byte() : r.u32();
      if (module_.level == Level::kCore2 && memory != 0) return r.fail_at("zero byte expected", op_at_);
      ValType address = memory_address(r, memory);
      if (code == kMemoryGrow) pop(r, address);
      push(address);
      break;
    }
    case kI32Const: r.s32(), push(kI32); break;
    case kI64Const: r.s64(), push(kI64); break;
    case kF32Const: r.raw<std::uint32_t>(), push(kF32); break;
    case kF64Const: r.raw<std::uint64_t>(), push(kF64); break;
    case kRefNull: push(make_ref(read_heap_type(r, module_), true)); break;
    case kRefIsNull: {
      ValType type = pop(r);
      if (type != kBottom && !type.is_ref()) return mismatch(r, kFuncRef, type);
      push(kI32);
      break;
    }
    case kRefFunc: {
      std::uint32_t index = r.u32();
      if (!known(r, index, module_.functions.size(), "unknown function")) return;
      if (!module_.declared[index]) return r.fail_at("undeclared function reference", op_at_);
      push(make_ref(module_.functions[index].type, false));
      break;
    }
    case kRefAsNonNull: {
      ValType type = pop(r);
      if (type != kBottom && !type.is_ref()) return mismatch(r, kFuncRef, type);
      push(type == kBottom ? kBottom : make_ref(type.heap(), false));
      break;
    }
    case kBrOnNull: {
      std::uint32_t depth = r.u32();
      ValType type = pop(r);
      if (type != kBottom && !type.is_ref()) return mismatch(r, kFuncRef, type);
      Types types = label(r, depth);
      pop_all(r, types);
      push_all(types);
      push(type == kBottom ? kBottom : make_ref(type.heap(), false));
      break;
    }
    case kBrOnNonNull: {
      std::uint32_t depth = r.u32();
      ValType type = pop(r);
      if (type != kBottom && !type.is_ref()) return mismatch(r, kFuncRef, type);
      Types types = label(r, depth);
      if (r.failed()) return;
      if (types.count == 0 || !types.at[types.count - 1].is_ref()) return detail_ = "the label takes no reference", r.fail_at("type mismatch", op_at_);
      ValType last = types.at[types.count - 1];
      if (type != kBottom && !matches(make_ref(type.heap(), false), last)) return mismatch(r, last, type);
      pop_all(r, {types.at, types.count - 1});
      push_all({types.at, types.count - 1});
      break;
    }
    case kPrefixByteMisc: misc(r); break;
    case kPrefixByteSimd: {
      std::uint32_t sub = r.u32();
      if (r.failed()) return;
      if (sub == kV128Const) {
        r.bytes(16);
        push(kV128);
      } else if (sub == kI8x16Shuffle) {
        for (std::uint8_t lane : r.bytes(16))
          if (lane >= 32) return r.fail_at("invalid lane index", op_at_);
        pop(r, kV128), pop(r, kV128), push(kV128);
      } else if (sub < kSimdOps) {
        simple(r, kOps.simd[sub]);
      } else {
        r.fail_at("illegal opcode", op_at_);
      }
      break;
    }
    case kPrefixByteGc: fail_garbage_collection(r); break;
    case kPrefixByteThreads: r.fail_at("threads and atomics are not supported", op_at_); break;
    case 0x06: case 0x07: case 0x09: case 0x18: case 0x19:
      r.fail_at("legacy exception handling is not supported: compile for exnref (-wasm-use-legacy-eh=false)", op_at_);
      break;
    default: {
      const Op& op = kOps.plain[code];
      // Two numbers in, one out: most of all code.
      if (op.operand_count == 2 && op.immediates == Immediates::None && size_ >= height_ + 2 && stack_[size_ - 1].bits == op.operands[1] && stack_[size_ - 2].bits == op.operands[0]) [[likely]] {
        --size_;
        --slots_;
        stack_[size_ - 1] = {op.result};
        return;
      }
      simple(r, op);
    }
  }
}

void Validator::check_function(Reader& r, Function& function, const FuncType& type) {
  locals_.assign(type.params.begin(), type.params.end());
  unset_.clear();
  set_.clear();
  singles_.clear();
  any_unset_ = false;
  op_at_ = r.at();
  std::uint64_t local_slots = type.param_slots;
  std::uint32_t groups = r.u32();
  for (std::uint32_t i = 0; i < groups && !r.failed(); ++i) {
    op_at_ = r.at();
    std::uint32_t count = r.u32();
    ValType local = read_value_type(r, module_);
    if (r.failed()) break;
    if (count > kLocalsMax || locals_.size() + count > kLocalsMax) {
      detail_ = cat("more than ", kLocalsMax);
      return r.fail_at("too many locals", op_at_);
    }
    local_slots += std::uint64_t{count} * slots_of(local);
    if (!local.defaultable() && count != 0) {
      any_unset_ = true;
      unset_.resize(locals_.size(), false);
      unset_.resize(locals_.size() + count, true);
    }
    locals_.resize(locals_.size() + count, local);
  }
  if (any_unset_) unset_.resize(locals_.size(), false);
  size_ = 0;
  slots_ = max_slots_ = 0;
  height_ = 0;
  blocks_.clear();
  enter(kBlock, {nullptr, 0}, {type.results.data(), static_cast<std::uint32_t>(type.results.size())});
  while (!blocks_.empty()) {
    if (r.done()) {
      op_at_ = r.at();
      return r.fail("unexpected end of section or function");
    }
    step(r);
    if (r.failed()) return;
  }
  if (!r.done()) return r.fail("operators remain after the end of the function");
  std::uint64_t slots = local_slots + max_slots_ + type.result_slots;
  if (slots > kFrameSlotsMax) {
    detail_ = cat("locals and operands need ", slots, " slots, the most is ", kFrameSlotsMax);
    return r.fail("function too large");
  }
  function.max_slots = static_cast<std::uint32_t>(slots);
}

std::uint32_t slots_of_function(const ModuleData& module, std::uint32_t index) {
  Function function = module.functions[index];
  if (function.max_slots != Function::kSlotsUnknown) return function.max_slots;
  Reader body(module.bytes.data(), module.bytes.data() + function.body.from, module.bytes.data() + function.body.to);
  Validator(const_cast<ModuleData&>(module)).check_function(body, function, *module.function_types[index]);  // only constants declare functions: nothing of it changes
  return body.failed() ? Function::kSlotsUnknown : function.max_slots;
}

Range Validator::check_constant(Reader& r, ValType type, std::uint32_t globals) {
  Range out{static_cast<std::uint32_t>(r.offset()), 0};
  size_ = 0;
  slots_ = max_slots_ = 0;
  height_ = 0;
  blocks_.clear();
  singles_.clear();
  locals_.clear();
  enter(kBlock, {nullptr, 0}, {&type, 1});
  while (!r.failed()) {
    op_at_ = r.at();
    std::uint8_t code = r.peek();
    bool constant = (code >= kI32Const && code <= kF64Const) || code == kGlobalGet || code == kRefNull || code == kRefFunc || code == kEnd || code == kPrefixByteSimd ||
                    (code >= 0x6a && code <= 0x6c) || (code >= 0x7c && code <= 0x7e);
    if (r.done()) return r.fail("unexpected end"), out;
    if (!constant) {
      if (code == kPrefixByteGc) fail_garbage_collection(r);
      else if (code != kPrefixByteMisc && code > kBrOnNonNull) r.fail_at("illegal opcode", op_at_);
      return r.fail("constant expression required"), out;
    }
    Reader ahead = r;
    ahead.byte();
    if (code == kGlobalGet) {
      std::uint32_t index = ahead.u32();
      if (!known(r, index, globals, "unknown global")) return out;
      if (module_.globals[index].type.is_mutable) return r.fail("constant expression required"), out;
    } else if (code == kPrefixByteSimd && ahead.u32() != kV128Const) {
      return r.fail("constant expression required"), out;
    } else if (code == kRefFunc) {
      std::uint32_t index = ahead.u32();
      if (!known(r, index, module_.functions.size(), "unknown function")) return out;
      module_.declared[index] = true;
    } else if (code == kEnd) {
      out.to = static_cast<std::uint32_t>(r.offset());
    }
    step(r);
    if (blocks_.empty()) break;
    if (size_ > kFrameSlotsMax) return r.fail("constant expression too large"), out;
  }
  return out;
}

}  // namespace monopod::wasm
