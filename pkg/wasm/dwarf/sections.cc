#include "wasm/dwarf/sections.h"

namespace monopod::wasm::dwarf {

Sections find_sections(const ModuleData& module) {
  Sections out;
  const struct {
    std::string_view name;
    Bytes& section;
  } rows[] = {{".debug_info", out.info}, {".debug_abbrev", out.abbreviations}, {".debug_line", out.line}, {".debug_str", out.strings}, {".debug_line_str", out.line_strings},
              {".debug_str_offsets", out.string_offsets}, {".debug_addr", out.addresses}, {".debug_ranges", out.ranges}, {".debug_rnglists", out.range_lists}};
  for (const auto& [name, range] : module.custom)
    for (const auto& row : rows)
      if (row.name == name && row.section.empty()) row.section = Bytes(module.bytes).subspan(range.from, range.to - range.from);
  return out;
}

}  // namespace monopod::wasm::dwarf
