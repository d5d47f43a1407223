// Memories, tables, globals.
#include "wasm/jit/helpers.h"
#include "wasm/jit/x86/compiler.h"
#include "wasm/limits.h"

namespace monopod::wasm::jit {

using namespace asmjit;

// vm.list[index]
x86::Gp FunctionCompiler::object(std::size_t list, u32 index) {
  x86::Gp t = make_int();
  cc_.mov(t, at(vm_, list));
  cc_.mov(t, at(t, std::size_t{index} * 8));
  return t;
}

x86::Gp FunctionCompiler::table(u32 index) {
  if (index != 0) return object(offsetof(Vm, tables), index);
  x86::Gp t = make_int();
  cc_.mov(t, at(vm_, offsetof(Vm, table)));
  return t;
}

// Where memory 0 has guard pages, the processor compares: 32 bits of address and an offset below kGuardBytes reach nothing else. What is left is compared here.
x86::Mem FunctionCompiler::address(u32 memory, u64 offset, const Value& v, u32 bytes) {
  const SizeLimits& type = module_.memories[memory];
  bool first = memory == 0;
  if (first) memory_used_ = true, used(memory_weight_);
  if (first && native_.guarded && !type.is64) {
    if (v.kind == Value::Kind::kConst && v.bits[0] + offset < kGuardBytes) return x86::ptr(memory_, static_cast<std::int32_t>(v.bits[0] + offset), bytes);
    if (offset < kGuardBytes) return x86::ptr(memory_, gp(v), 0, static_cast<std::int32_t>(offset), bytes);
  }
  x86::Gp address = gp(v), end = make_int(), object_at = first ? make_int() : object(offsetof(Vm, memories), memory);
  if (first) cc_.mov(object_at, at(vm_, offsetof(Vm, memory)));
  // The end of what is accessed, of which a sum may have more than 64 bits.
  if (offset <= 0x7fff'0000 && !type.is64) {
    cc_.lea(end, x86::ptr(address, static_cast<std::int32_t>(offset + bytes)));
  } else {
    if (offset > ~u64{0} - bytes) {
      cc_.jmp(trap_label(Trap::kMemory));
      offset = 0;  // never there
    }
    cc_.mov(end, offset + bytes);
    cc_.add(end, address);
    if (type.is64) trap_if(x86::CondCode::kC, Trap::kMemory);
  }
  cc_.cmp(end, at(object_at, offsetof(MemoryObject, bytes)));
  trap_if(x86::CondCode::kA, Trap::kMemory);
  x86::Gp base = memory_;
  if (!first) {
    base = make_int();
    cc_.mov(base, at(object_at, offsetof(MemoryObject, base)));
  }
  return x86::ptr(base, end, 0, -static_cast<std::int32_t>(bytes), bytes);
}

// A load that the next instruction takes as its right operand is that instruction's operand.
bool FunctionCompiler::load_into_next(u32 code, const x86::Mem& from, ValType type) {
  using Id = x86::Inst::Id;
  static constexpr InstId kFloats[2][4] = {{Id::kIdVaddss, Id::kIdVsubss, Id::kIdVmulss, Id::kIdVdivss}, {Id::kIdVaddsd, Id::kIdVsubsd, Id::kIdVmulsd, Id::kIdVdivsd}};
  u32 next = reader_.peek();
  if (type == kF32 || type == kF64) {
    u32 kind = next - (type == kF32 ? 0x92 : 0xa0);
    if (kind >= 4) return false;
    reader_.byte();
    ++charged_;
    x86::Xmm left = xmm(pop()), d = result_xmm(type);
    place(Trap::kMemory);
    cc_.emit(kFloats[type == kF64][kind], d, left, from);
    push_register(type, d);
    return true;
  }
  if (code != 0x28 && code != 0x29) return false;
  InstId id = 0;
  switch (next - (code == 0x29 ? 0x12 : 0)) {
    case 0x6a: id = Id::kIdAdd; break;
    case 0x6b: id = Id::kIdSub; break;
    case 0x71: id = Id::kIdAnd; break;
    case 0x72: id = Id::kIdOr; break;
    case 0x73: id = Id::kIdXor; break;
    default: return false;
  }
  reader_.byte();
  ++charged_;
  Value left = pop();
  x86::Gp d = result_over(left);
  if (d.id() == from.baseId() || d.id() == from.indexId()) d = make_int();
  move(d, left);
  place(Trap::kMemory);
  cc_.emit(id, code == 0x28 ? d.r32() : d, from);
  push_register(type, d);
  return true;
}

void FunctionCompiler::load(u32 code, const x86::Mem& from, ValType type) {
  if (load_into_next(code, from, type)) return;
  if (type == kF32 || type == kF64) {
    x86::Xmm d = result_xmm(type);
    place(Trap::kMemory);
    if (type == kF32) cc_.vmovss(d, from);
    else cc_.vmovsd(d, from);
    return push_register(type, d);
  }
  x86::Gp d = result_gp(type);
  place(Trap::kMemory);
  switch (code) {
    case 0x28: case 0x35: cc_.mov(d.r32(), from); break;
    case 0x29: cc_.mov(d, from); break;
    case 0x2c: case 0x2e: cc_.movsx(d.r32(), from); break;
    case 0x30: case 0x32: cc_.movsx(d, from); break;
    case 0x34: cc_.movsxd(d, from); break;
    default: cc_.movzx(d.r32(), from);  // 0x2d 0x2f 0x31 0x33
  }
  push_register(type, d);
}

void FunctionCompiler::store(u32 code, const x86::Mem& to, const Value& v) {
  if (v.type == kF32 || v.type == kF64) {
    x86::Xmm s = xmm(v);
    place(Trap::kMemory);
    if (v.type == kF32) cc_.vmovss(to, s);
    else cc_.vmovsd(to, s);
    return;
  }
  if (v.kind == Value::Kind::kConst && (to.size() != 8 || static_cast<std::int64_t>(v.bits[0]) == static_cast<std::int32_t>(v.bits[0]))) {
    auto n = static_cast<std::int32_t>(v.bits[0]);
    place(Trap::kMemory);
    cc_.mov(to, to.size() == 1 ? static_cast<std::int8_t>(n) : to.size() == 2 ? static_cast<std::int16_t>(n) : n);
    return;
  }
  x86::Gp s = gp(v);
  place(Trap::kMemory);
  (void)code;
  switch (to.size()) {
    case 1: cc_.mov(to, s.r8()); break;
    case 2: cc_.mov(to, s.r16()); break;
    case 4: cc_.mov(to, s.r32()); break;
    default: cc_.mov(to, s);
  }
}

bool FunctionCompiler::memory_access(u32 code, const Op& op) {
  u32 flags = reader_.u32();
  u32 memory = (flags & 0x40) != 0 ? reader_.u32() : 0;
  u64 offset = module_.memories[memory].is64 ? reader_.u64() : reader_.u32();
  u32 bytes = 1u << natural_alignment(op.immediates);
  bool is_store = op.result == 0;
  Value v;
  if (is_store) v = pop();
  Value where = pop();
  if (is_store && v.kind != Value::Kind::kConst) v = {.type = v.type, .reg = in_register(v)};
  x86::Mem m = address(memory, offset, where, bytes);
  if (is_store) store(code, m, v);
  else load(code, m, {op.result});
  return true;
}

void FunctionCompiler::global_get(u32 index) {
  ValType type = module_.globals[index].type.type;
  if (!supported(type)) return unsupported();
  x86::Gp global = object(offsetof(Vm, globals), index);
  BaseReg d = result_register(type);
  load_slot(d, type, x86::ptr(global));
  push_register(type, d);
}

void FunctionCompiler::global_set(u32 index) {
  ValType type = module_.globals[index].type.type;
  if (!supported(type)) return unsupported();
  Value v = pop();
  x86::Gp global = object(offsetof(Vm, globals), index);
  store_slots(x86::ptr(global), {v});
}

void FunctionCompiler::memory_size(u32 index) {
  x86::Gp memory = object(offsetof(Vm, memories), index), d = make_int();
  cc_.mov(d, at(memory, offsetof(MemoryObject, bytes)));
  cc_.shr(d, 16);
  push_register(module_.memories[index].is64 ? kI64 : kI32, d);
}

void FunctionCompiler::table_access(std::uint8_t code) {
  u32 index = reader_.u32();
  ValType type = module_.tables[index].type.element;
  if (!supported(type)) return unsupported();
  Value v;
  if (code == kTableSet) v = pop();
  x86::Gp i = gp(pop());
  x86::Gp from = table(index);
  cc_.cmp(i, at(from, offsetof(TableObject, size)));
  trap_if(x86::CondCode::kAE, Trap::kTable);
  x86::Gp data = make_int();
  cc_.mov(data, at(from, offsetof(TableObject, data)));
  if (code == kTableSet) {
    cc_.mov(x86::ptr(data, i, 3, 0, 8), gp(v));
    return;
  }
  x86::Gp d = make_int();
  cc_.mov(d, x86::ptr(data, i, 3, 0, 8));
  push_register(type, d);
}

// helper(vm, the topmost operands)
InvokeNode* FunctionCompiler::help(const void* helper, u32 arguments, bool returns) {
  calls_ = true;
  std::vector<x86::Gp> registers(arguments);
  for (u32 i = arguments; i-- > 0;) registers[i] = argument(pop()).as<x86::Gp>();
  FuncSignatureBuilder signature(CallConvId::kX64SystemV);
  for (u32 i = 0; i <= arguments; ++i) signature.addArg(TypeId::kUInt64);
  if (returns) signature.setRet(TypeId::kUInt64);
  x86::Gp target = make_int(), vm = make_int();
  cc_.mov(vm, vm_);
  cc_.mov(target, reinterpret_cast<u64>(helper));
  place(Trap::kNone);
  InvokeNode* node = nullptr;
  cc_.invoke(&node, target, signature);
  node->setArg(0, vm);
  for (u32 i = 0; i < arguments; ++i) node->setArg(i + 1, registers[i]);
  return node;
}

bool FunctionCompiler::misc() {
  u32 code = reader_.u32();
  if (code < 8) return scalar(kPrefixMisc + code, kOps.misc[code]);
  u32 first = reader_.u32(), second = 0;
  if (code == kMemoryInit || code == kMemoryCopy || code == kTableInit || code == kTableCopy) second = reader_.u32();
  if (code == kTableSize) {
    x86::Gp d = make_int();
    cc_.mov(d, at(table(first), offsetof(TableObject, size)));
    push_register(module_.tables[first].type.limits.is64 ? kI64 : kI32, d);
    return true;
  }
  if (code == kDataDrop || code == kElemDrop) {
    push_const(kI64, first);
    help(code == kDataDrop ? reinterpret_cast<const void*>(&help_data_drop) : reinterpret_cast<const void*>(&help_elements_drop), 1, false);
    return true;
  }
  struct Row {
    u32 code;
    const void* helper;
    Trap trap;
  };
  static const Row kRows[] = {
      {kMemoryInit, reinterpret_cast<const void*>(&help_memory_init), Trap::kMemory}, {kMemoryCopy, reinterpret_cast<const void*>(&help_memory_copy), Trap::kMemory},
      {kMemoryFill, reinterpret_cast<const void*>(&help_memory_fill), Trap::kMemory}, {kTableInit, reinterpret_cast<const void*>(&help_table_init), Trap::kTable},
      {kTableCopy, reinterpret_cast<const void*>(&help_table_copy), Trap::kTable},    {kTableFill, reinterpret_cast<const void*>(&help_table_fill), Trap::kTable},
  };
  // What it is about goes in front of the operands: for init the segment is named first.
  bool init = code == kMemoryInit || code == kTableInit;
  u64 objects = init ? u64{first} << 32 | second : u64{second} << 32 | first;
  std::size_t operands = code == kTableGrow ? 2 : 3;
  std::vector<Value> values(stack_.end() - static_cast<std::ptrdiff_t>(operands), stack_.end());
  stack_.resize(stack_.size() - operands);
  if (code == kTableGrow) std::swap(values[0], values[1]);  // count, value
  if (code == kTableFill) objects = first;
  push_const(kI64, objects);
  for (const Value& v : values) push(v);
  x86::Gp d = make_int();
  if (code == kTableGrow) {
    ValType type = module_.tables[first].type.limits.is64 ? kI64 : kI32;
    help(reinterpret_cast<const void*>(&help_table_grow), 3, true)->setRet(0, d);
    push_register(type, d);
    return true;
  }
  for (const Row& row : kRows) {
    if (row.code != code) continue;
    help(row.helper, 4, true)->setRet(0, d);
    check_flag(d, row.trap);
    return true;
  }
  return false;
}

}  // namespace monopod::wasm::jit
