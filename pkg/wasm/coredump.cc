#include "wasm/coredump.h"

#include <algorithm>
#include <span>

namespace monopod::wasm {
namespace {

constexpr std::size_t kPieceBytes = 4096;  // of memory: written, or left out where it is zero

void put(std::string& out, std::uint64_t n) {  // LEB128
  do {
    auto byte = static_cast<unsigned char>(n & 0x7f);
    n >>= 7;
    out += static_cast<char>(byte | (n != 0 ? 0x80 : 0));
  } while (n != 0);
}
void put_signed(std::string& out, std::int64_t n) {
  for (;;) {
    auto byte = static_cast<unsigned char>(n & 0x7f);
    n >>= 7;
    bool last = (n == 0 && (byte & 0x40) == 0) || (n == -1 && (byte & 0x40) != 0);
    out += static_cast<char>(byte | (last ? 0 : 0x80));
    if (last) return;
  }
}
void put_name(std::string& out, std::string_view name) {
  put(out, name.size());
  out += name;
}
void put_section(std::string& out, char id, std::string_view body) {
  out += id;
  put(out, body.size());
  out += body;
}

std::string process(std::string_view name) {
  std::string out;
  put_name(out, "core");
  out += '\0';
  put_name(out, name);
  return out;
}

std::string stack(const Store& store, const ModuleData& module) {
  std::string out, frames;
  std::size_t count = 0;
  for (const TrapFrame& f : store.trap_frames()) {
    if (f.module != &module) continue;  // another instance's: its indices mean nothing here
    ++count;
    frames += '\0';
    put(frames, f.function);
    put(frames, f.offset - module.functions[f.function].body.from);
    frames += std::string_view("\0\0", 2);  // no locals, no operands
  }
  put_name(out, "corestack");
  out += '\0';
  put_name(out, "main");
  put(out, count);
  return out + frames;
}

std::string memories(const Vm& vm) {
  std::string out;
  put(out, vm.memory_list.size());
  for (const MemoryObject* m : vm.memory_list) {
    out += m->type.is64 ? '\4' : '\0';
    put(out, m->bytes / kPageBytes);
  }
  return out;
}

std::string globals(const Vm& vm) {
  std::string out, list;
  std::size_t count = 0;
  for (const GlobalObject* g : vm.global_objects) {
    ValType t = g->type.type;
    if (t != kI32 && t != kI64 && t != kF32 && t != kF64) break;  // their indices would shift
    ++count;
    list += static_cast<char>(t == kI32 ? 0x7f : t == kI64 ? 0x7e : t == kF32 ? 0x7d : 0x7c);
    list += '\0';
    list += static_cast<char>(t == kI32 ? 0x41 : t == kI64 ? 0x42 : t == kF32 ? 0x43 : 0x44);
    if (t == kI32) put_signed(list, static_cast<std::int32_t>(g->value[0]));
    else if (t == kI64) put_signed(list, static_cast<std::int64_t>(g->value[0]));
    else list.append(reinterpret_cast<const char*>(g->value), t == kF32 ? 4 : 8);
    list += '\x0b';
  }
  put(out, count);
  return out + list;
}

std::string data(const Vm& vm) {
  std::string out, list;
  std::size_t count = 0;
  auto is_zero = [](std::span<const std::uint8_t> piece) { return std::ranges::all_of(piece, [](std::uint8_t b) { return b == 0; }); };
  for (std::size_t index = 0; index < vm.memory_list.size(); ++index) {
    const MemoryObject& m = *vm.memory_list[index];
    auto piece = [&m](std::uint64_t at) { return std::span<const std::uint8_t>(m.base + at, kPieceBytes); };
    for (std::uint64_t from = 0, to = 0; from < m.bytes; from = to) {
      for (to = from + kPieceBytes; to < m.bytes && !is_zero(piece(from)) && !is_zero(piece(to)); to += kPieceBytes) {
      }
      if (is_zero(piece(from))) continue;
      ++count;
      put(list, index == 0 ? 0 : 2);
      if (index != 0) put(list, index);
      list += static_cast<char>(m.type.is64 ? 0x42 : 0x41);
      if (m.type.is64) put_signed(list, static_cast<std::int64_t>(from));
      else put_signed(list, static_cast<std::int32_t>(from));
      list += '\x0b';
      put(list, to - from);
      list.append(reinterpret_cast<const char*>(m.base) + from, to - from);
    }
  }
  put(out, count);
  return out + list;
}

}  // namespace

std::string format_coredump(const Store& store, const Instance& instance, std::string_view name) {
  const Vm& vm = instance.vm();
  std::string out("\0asm\1\0\0\0", 8);
  put_section(out, 0, process(name));
  put_section(out, 0, stack(store, *vm.module));
  put_section(out, 5, memories(vm));
  put_section(out, 6, globals(vm));
  put_section(out, 11, data(vm));
  return out;
}

}  // namespace monopod::wasm
