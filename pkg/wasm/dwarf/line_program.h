// A unit's line table: a program that, run, says row by row which line the code from an address on is of (DWARF 5, section 6.2; versions 2 to 5).
#pragma once

#include <string>
#include <vector>

#include "wasm/dwarf/sections.h"

namespace monopod::wasm::dwarf {

inline constexpr std::size_t kSequencesMax = 1'000'000;  // of one program: as many as there may be functions

struct Line {
  std::uint64_t file = 0;
  std::uint32_t line = 0, column = 0;
};

class LineProgram {
 public:
  // Runs it once, for where its sequences (runs of ascending addresses: functions) are. Empty where it is damaged from the start; what is damaged later ends there.
  static std::optional<LineProgram> open(const Sections& sections, std::uint64_t offset, unsigned address_bytes, Steps& steps);
  std::optional<Line> find(std::uint64_t address, Steps& steps) const;
  // As the compiler was called with: relative to its directory, or whole. Empty where there is none.
  std::string file_name(std::uint64_t file, Steps& steps) const;
  std::uint64_t end() const { return end_; }  // where the next one begins

 private:
  struct Registers {
    std::uint64_t address = 0, file = 1;
    std::uint32_t line = 1, column = 0;
    bool end = false;  // of the sequence
  };
  struct Sequence {
    std::uint64_t from = 0, to = 0, at = 0;  // addresses; where its part of the program is
  };
  struct EntryFormat {
    std::uint64_t content = 0, form = 0;
  };
  struct Name {
    std::string_view text;
    std::uint64_t directory = 0;
  };
  bool read_header(Steps& steps);
  bool run(Reader& r, Registers& registers, Steps& steps) const;  // up to the next row; false: none
  bool special(std::uint8_t opcode, Registers& registers) const;
  bool standard(std::uint8_t opcode, Reader& r, Registers& registers) const;
  bool extended(Reader& r, Registers& registers) const;
  void advance(Registers& registers, std::uint64_t operations) const;
  bool skip_tables(Reader& r, Steps& steps);
  std::optional<Name> find_name(bool files, std::uint64_t index, Steps& steps) const;
  bool read_formats(Reader& r, std::vector<EntryFormat>& out) const;
  bool read_entry(Reader& r, const std::vector<EntryFormat>& formats, Name* out) const;  // null: skips it

  Sections sections_;
  std::uint64_t tables_ = 0, program_ = 0, end_ = 0;
  std::uint64_t directories_ = 0, files_ = 0;  // where the two lists are
  std::uint16_t version_ = 0;
  unsigned offset_bytes_ = 4, address_bytes_ = 4;
  std::uint8_t minimum_instruction_bytes_ = 1, line_range_ = 1, opcode_base_ = 1;
  std::int8_t line_base_ = 0;
  Bytes operand_counts_;
  std::vector<Sequence> sequences_;  // by address
};

}  // namespace monopod::wasm::dwarf
