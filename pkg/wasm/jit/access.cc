// Memories, tables, globals.
#include "wasm/jit/helpers.h"
#include "wasm/jit/lowering.h"

namespace monopod::wasm::jit {

using namespace asmjit;

// vm.list[index]
target::Gp Lowering::object(std::size_t list, u32 index) {
  Gp t = make_int();
  load_word(t, at(vm_, list));
  load_word(t, at(t, std::size_t{index} * 8));
  return t;
}

target::Gp Lowering::table(u32 index) {
  if (index != 0) return object(offsetof(Vm, tables), index);
  Gp t = make_int();
  load_word(t, at(vm_, offsetof(Vm, table)));
  return t;
}

bool Lowering::memory_access(u32 code, const Op& op) {
  u32 flags = reader_.u32();
  u32 memory = (flags & 0x40) != 0 ? reader_.u32() : 0;
  u64 offset = module_.memories[memory].is64 ? reader_.u64() : reader_.u32();
  u32 bytes = 1u << natural_alignment(op.immediates);
  bool is_store = op.result == 0;
  Value v;
  if (is_store) v = pop();
  Value where = pop();
  if (is_store && v.kind != Value::Kind::kConst) v = {.type = v.type, .reg = in_register(v)};
  Mem m = address(memory, offset, where, bytes);
  if (is_store) store_memory(code, m, v);
  else load_memory(code, m, {op.result});
  return true;
}

void Lowering::global_get(u32 index) {
  ValType type = module_.globals[index].type.type;
  Gp global = object(offsetof(Vm, globals), index);
  BaseReg d = result_register(type);
  load_slot(d, type, at(global, 0));
  push_register(type, d);
}

void Lowering::global_set(u32 index) {
  ValType type = module_.globals[index].type.type;
  Value v = pop();
  Gp global = object(offsetof(Vm, globals), index);
  store_slot(at(global, 0), type, in_register(v));
}

void Lowering::memory_size(u32 index) {
  Gp memory = object(offsetof(Vm, memories), index), d = make_int();
  load_word(d, at(memory, offsetof(MemoryObject, bytes)));
  shift_right(d, 16);
  push_register(module_.memories[index].is64 ? kI64 : kI32, d);
}

void Lowering::table_access(std::uint8_t code) {
  u32 index = reader_.u32();
  ValType type = module_.tables[index].type.element;
  Value v;
  if (code == kTableSet) v = pop();
  Gp i = gp(pop());
  Gp from = table(index);
  compare_with(i, at(from, offsetof(TableObject, size)));
  trap_if(target::kAboveEqual, Trap::kTable);
  Gp data = make_int();
  load_word(data, at(from, offsetof(TableObject, data)));
  if (code == kTableSet) {
    store_element(data, i, gp(v));
    return;
  }
  Gp d = make_int();
  load_element(d, data, i);
  push_register(type, d);
}

void Lowering::memory_grow(u32 index) {
  ValType type = stack_.back().type;
  push_register(type, help(reinterpret_cast<const void*>(&help_memory_grow), {constant_value(index)}, 1, true));
}

bool Lowering::misc() {
  u32 code = reader_.u32();
  if (code < 8) return scalar(kPrefixMisc + code);
  u32 first = reader_.u32(), second = 0;
  if (code == kMemoryInit || code == kMemoryCopy || code == kTableInit || code == kTableCopy) second = reader_.u32();
  if (code == kTableSize) {
    Gp d = make_int();
    load_word(d, at(table(first), offsetof(TableObject, size)));
    push_register(module_.tables[first].type.limits.is64 ? kI64 : kI32, d);
    return true;
  }
  if (code == kDataDrop || code == kElemDrop) {
    help(code == kDataDrop ? reinterpret_cast<const void*>(&help_data_drop) : reinterpret_cast<const void*>(&help_elements_drop), {constant_value(first)}, 0, false);
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
  if (code == kTableFill) objects = first;
  if (code == kTableGrow) {
    ValType type = module_.tables[first].type.limits.is64 ? kI64 : kI32;
    push_register(type, help(reinterpret_cast<const void*>(&help_table_grow), {constant_value(first)}, 2, true));
    return true;
  }
  for (const Row& row : kRows) {
    if (row.code != code) continue;
    check_flag(help(row.helper, {constant_value(objects)}, 3, true), row.trap);
    return true;
  }
  return false;
}

}  // namespace monopod::wasm::jit
