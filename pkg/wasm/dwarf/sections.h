// DWARF's sections as a module carries them, and the pieces that all of its parts are read with. Source: DWARF Debugging Information Format, versions 4 and 5;
// "DWARF for WebAssembly" (a code address counts from the start of the Code section's content). Nothing here trusts its input: it is of custom sections, which
// no validator has looked at.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "wasm/module.h"

namespace monopod::wasm::dwarf {

using Bytes = std::span<const std::uint8_t>;

struct Sections {
  Bytes info, abbreviations, line, strings, line_strings, string_offsets, addresses, ranges, range_lists;
  bool empty() const { return info.empty() && line.empty(); }
};
Sections find_sections(const ModuleData& module);  // views into it; those that are missing are empty

inline Reader reader_at(Bytes section, std::uint64_t offset) {
  Reader out(section.data(), section.data() + std::min<std::uint64_t>(offset, section.size()), section.data() + section.size());
  if (offset > section.size()) out.fail("out of bounds");
  return out;
}
// A number of so many bytes, little endian: 1 to 8.
inline std::uint64_t read_fixed(Reader& r, unsigned bytes) {
  std::uint64_t out = 0;
  Bytes from = r.bytes(bytes);
  if (!from.empty()) std::memcpy(&out, from.data(), from.size());
  return out;
}
inline std::string_view read_string(Reader& r) {  // up to a zero byte
  const void* end = r.left() == 0 ? nullptr : std::memchr(r.at(), 0, r.left());
  if (end == nullptr) return r.fail("string without an end"), std::string_view();
  Bytes out = r.bytes(static_cast<std::size_t>(static_cast<const std::uint8_t*>(end) - r.at()) + 1);
  return {reinterpret_cast<const char*>(out.data()), out.size() - 1};
}
inline std::string_view string_at(Bytes section, std::uint64_t offset) {
  Reader r = reader_at(section, offset);
  return read_string(r);
}

// What a unit begins with, in both sections. The reader stands behind it.
struct UnitLength {
  std::uint64_t end = 0;  // of the unit, in its section
  unsigned offset_bytes = 4;
};
inline std::optional<UnitLength> read_unit_length(Reader& r) {
  UnitLength out;
  std::uint64_t bytes = read_fixed(r, 4);
  if (bytes == 0xffff'ffff) bytes = read_fixed(r, 8), out.offset_bytes = 8;
  else if (bytes >= 0xffff'fff0) return std::nullopt;
  if (r.failed() || bytes > r.left()) return std::nullopt;
  out.end = r.offset() + bytes;
  return out;
}

// How much may still be read: every attribute, row and entry is one step. A lookup that runs out knows nothing.
struct Steps {
  std::uint64_t left = 0;
  bool take(std::uint64_t count = 1) { return count <= left ? left -= count, true : (left = 0, false); }
};

}  // namespace monopod::wasm::dwarf
