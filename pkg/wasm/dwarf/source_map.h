// From a byte of a module to its place in the sources, as a debugger would tell it: for backtraces. Made when one is asked for; nothing is kept beyond it.
//
//   .debug_info: units ─► the one whose code it is ─► function ─► inlined calls       (units.h)
//   .debug_line: the unit's line program ─► file, line, column                        (line_program.h)
#pragma once

#include <string>
#include <vector>

#include "wasm/dwarf/line_program.h"
#include "wasm/dwarf/units.h"

namespace monopod::wasm::dwarf {

// Of all lookups in one map together: some tens of milliseconds at most, whatever a module carries.
inline constexpr std::uint64_t kStepsMax = 16'000'000;
inline constexpr std::size_t kInlinedMax = 100;       // of one place
inline constexpr std::size_t kTextBytesMax = 1'000;   // of a name or a file shown

struct SourceFrame {
  std::string function;  // as in the source, without its types; empty where that is not known
  std::string file;
  std::uint32_t line = 0, column = 0;  // 0: not known
  bool inlined = false;  // into the frame behind it
};
struct SourceUnit {
  std::string name;
  unsigned version = 0;
};

class SourceMap {
 public:
  explicit SourceMap(const Sections& sections, std::uint64_t steps = kStepsMax) : sections_(sections), steps_{steps} {}
  SourceMap(const SourceMap&) = delete;
  SourceMap& operator=(const SourceMap&) = delete;

  // The innermost first, the last the function itself; empty where nothing is known. address: from the start of the Code section's content.
  std::vector<SourceFrame> find(std::uint64_t address);
  std::vector<SourceUnit> units(std::size_t count_max);

 private:
  struct Code {
    std::uint64_t from = 0, to = 0;
    std::uint64_t at = 0;  // of the unit, or of the function's entry
  };
  static const Code* find_code(const std::vector<Code>& list, std::uint64_t address);
  template <typename F>
  void each_unit(F body);
  bool open_unit(std::uint64_t address);
  void list_functions();
  std::vector<SourceFrame> calls_at(std::uint64_t address);
  void place(SourceFrame& frame, const Line& line);
  std::vector<SourceFrame> find_without_units(std::uint64_t address);

  Sections sections_;
  Steps steps_;
  bool units_listed_ = false;
  std::vector<Code> units_;      // by address, as are
  std::vector<Code> functions_;  // those of unit_
  std::optional<Unit> unit_;     // the last one asked for
  std::optional<LineProgram> lines_;
};

}  // namespace monopod::wasm::dwarf
