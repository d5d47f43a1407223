#include "wasm/dwarf/line_program.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod::wasm::dwarf {
namespace {

enum Standard : std::uint8_t {
  kCopy = 1, kAdvancePc = 2, kAdvanceLine = 3, kSetFile = 4, kSetColumn = 5, kConstAddPc = 8, kFixedAdvancePc = 9,
};
enum Extended : std::uint8_t { kEndSequence = 1, kSetAddress = 2 };
enum Content : std::uint8_t { kPath = 1, kDirectoryIndex = 2 };
enum Form : std::uint8_t { kBlock2 = 0x03, kBlock4 = 0x04, kData2 = 0x05, kData4 = 0x06, kData8 = 0x07, kString = 0x08, kBlock = 0x09, kBlock1 = 0x0a, kData1 = 0x0b, kStrp = 0x0e, kUdata = 0x0f, kData16 = 0x1e, kLineStrp = 0x1f };

}  // namespace

std::optional<LineProgram> LineProgram::open(const Sections& sections, std::uint64_t offset, unsigned address_bytes, Steps& steps) {
  LineProgram out;
  out.sections_ = sections;
  out.tables_ = offset;
  out.address_bytes_ = address_bytes;
  if (!out.read_header(steps)) return std::nullopt;
  Reader r = reader_at(sections.line.first(out.end_), out.program_);
  while (!r.done() && out.sequences_.size() < kSequencesMax) {
    Sequence sequence{.at = r.offset()};
    Registers registers;
    bool first = true;
    while (out.run(r, registers, steps)) {
      if (first) sequence.from = registers.address, first = false;
      if (registers.end) break;
    }
    // What the linker dropped stands at address 0 or at the last ones, where no code is.
    if (!registers.end) break;
    if (sequence.from != 0 && registers.address > sequence.from) {
      sequence.to = registers.address;
      out.sequences_.push_back(sequence);
    }
  }
  std::ranges::sort(out.sequences_, {}, &Sequence::from);
  return out;
}

bool LineProgram::read_header(Steps& steps) {
  Reader r = reader_at(sections_.line, tables_);
  std::optional<UnitLength> length = read_unit_length(r);
  if (!length) return false;
  end_ = length->end;
  offset_bytes_ = length->offset_bytes;
  version_ = static_cast<std::uint16_t>(read_fixed(r, 2));
  if (version_ < 2 || version_ > 5) return false;
  if (version_ == 5) {
    address_bytes_ = r.byte();
    r.byte();  // of segment selectors: there are none
  }
  std::uint64_t header_bytes = read_fixed(r, offset_bytes_);
  if (r.failed() || header_bytes > end_ - std::min<std::uint64_t>(end_, r.offset()) || (address_bytes_ != 4 && address_bytes_ != 8)) return false;
  program_ = r.offset() + header_bytes;
  minimum_instruction_bytes_ = r.byte();
  if (version_ >= 4) r.byte();  // operations of an instruction: one, but on very long instruction words
  r.byte();                     // whether rows begin statements
  line_base_ = static_cast<std::int8_t>(r.byte());
  line_range_ = r.byte();
  opcode_base_ = r.byte();
  if (r.failed() || line_range_ == 0 || opcode_base_ == 0) return false;
  operand_counts_ = r.bytes(opcode_base_ - 1U);
  return !r.failed() && r.offset() <= program_ && skip_tables(r, steps);
}

void LineProgram::advance(Registers& registers, std::uint64_t operations) const {
  registers.address += operations * minimum_instruction_bytes_;
  if (address_bytes_ == 4) registers.address &= 0xffff'ffff;
}

bool LineProgram::special(std::uint8_t opcode, Registers& registers) const {
  auto adjusted = static_cast<std::uint8_t>(opcode - opcode_base_);
  advance(registers, adjusted / line_range_);
  registers.line += static_cast<std::uint32_t>(line_base_ + adjusted % line_range_);
  return true;
}

// True: that was a row.
bool LineProgram::standard(std::uint8_t opcode, Reader& r, Registers& registers) const {
  switch (opcode) {
    case kCopy: return true;
    case kAdvancePc: advance(registers, r.u64()); return false;
    case kAdvanceLine: registers.line += static_cast<std::uint32_t>(r.s64()); return false;
    case kSetFile: registers.file = r.u64(); return false;
    case kSetColumn: registers.column = static_cast<std::uint32_t>(r.u64()); return false;
    case kConstAddPc: advance(registers, static_cast<std::uint8_t>(255 - opcode_base_) / line_range_); return false;
    case kFixedAdvancePc: registers.address += read_fixed(r, 2); return false;
    default:  // says nothing of lines: its operands are skipped
      for (std::uint8_t i = operand_counts_[opcode - 1U]; i-- > 0 && !r.failed();) r.u64();
      return false;
  }
}

bool LineProgram::extended(Reader& r, Registers& registers) const {
  std::uint64_t bytes = r.u64();
  if (bytes > r.left()) return r.fail("out of bounds"), false;
  if (bytes == 0) return false;
  Bytes body = r.bytes(static_cast<std::size_t>(bytes));
  if (body[0] == kEndSequence) return registers.end = true;
  if (body[0] == kSetAddress && body.size() - 1 <= 8) {
    Reader operand = reader_at(body, 1);
    registers.address = read_fixed(operand, static_cast<unsigned>(body.size() - 1));
  }
  return false;
}

bool LineProgram::run(Reader& r, Registers& registers, Steps& steps) const {
  while (!r.done() && !r.failed() && steps.take()) {
    std::uint8_t opcode = r.byte();
    bool row = opcode >= opcode_base_ ? special(opcode, registers) : opcode == 0 ? extended(r, registers) : standard(opcode, r, registers);
    if (row) return !r.failed();
  }
  return false;
}

std::optional<Line> LineProgram::find(std::uint64_t address, Steps& steps) const {
  auto after = std::ranges::upper_bound(sequences_, address, {}, &Sequence::from);
  if (after == sequences_.begin() || address >= std::prev(after)->to) return std::nullopt;
  Reader r = reader_at(sections_.line.first(end_), std::prev(after)->at);
  Registers registers;
  std::optional<Line> before;
  while (run(r, registers, steps)) {
    if (registers.address > address) return before;
    if (registers.end) return std::nullopt;
    before = Line{registers.file, registers.line, registers.column};
  }
  return std::nullopt;
}

// Version 5 says of what its entries are made.
bool LineProgram::read_formats(Reader& r, std::vector<EntryFormat>& out) const {
  std::uint8_t count = r.byte();
  for (std::uint8_t i = 0; i < count && !r.failed(); ++i) {
    std::uint64_t content = r.u64();
    out.push_back({content, r.u64()});
  }
  return !r.failed();
}

bool LineProgram::read_entry(Reader& r, const std::vector<EntryFormat>& formats, Name* out) const {
  // Strings elsewhere are looked for where they are asked for: those of a whole list could be the same long one.
  auto elsewhere = [this, &r, out](Bytes section) {
    std::uint64_t offset = read_fixed(r, offset_bytes_);
    return out != nullptr ? string_at(section, offset) : std::string_view();
  };
  for (const EntryFormat& f : formats) {
    std::uint64_t number = 0;
    std::string_view text;
    switch (f.form) {
      case kString: text = read_string(r); break;
      case kLineStrp: text = elsewhere(sections_.line_strings); break;
      case kStrp: text = elsewhere(sections_.strings); break;
      case kUdata: number = r.u64(); break;
      case kData1: number = r.byte(); break;
      case kData2: number = read_fixed(r, 2); break;
      case kData4: number = read_fixed(r, 4); break;
      case kData8: number = read_fixed(r, 8); break;
      case kData16: r.bytes(16); break;
      case kBlock: r.bytes(r.u64()); break;
      case kBlock1: r.bytes(r.byte()); break;
      case kBlock2: r.bytes(read_fixed(r, 2)); break;
      case kBlock4: r.bytes(read_fixed(r, 4)); break;
      default: return false;
    }
    if (out == nullptr) continue;
    if (f.content == kPath) out->text = text;
    if (f.content == kDirectoryIndex) out->directory = number;
  }
  return !r.failed();
}

// Up to version 4 both lists end with an empty name, and count from 1.
bool LineProgram::skip_tables(Reader& r, Steps& steps) {
  directories_ = r.offset();
  if (version_ < 5) {
    while (!read_string(r).empty())
      if (!steps.take()) return false;
    files_ = r.offset();
    return !r.failed();
  }
  std::vector<EntryFormat> formats;
  if (!read_formats(r, formats)) return false;
  for (std::uint64_t count = r.u64(); count-- > 0;)
    if (!steps.take() || !read_entry(r, formats, nullptr)) return false;
  files_ = r.offset();
  return !r.failed();
}

std::optional<LineProgram::Name> LineProgram::find_name(bool files, std::uint64_t index, Steps& steps) const {
  Reader r = reader_at(sections_.line.first(program_), files ? files_ : directories_);
  Name out;
  if (version_ == 5) {
    std::vector<EntryFormat> formats;
    if (!read_formats(r, formats) || index >= r.u64()) return std::nullopt;
    do
      if (!steps.take() || !read_entry(r, formats, index == 0 ? &out : nullptr)) return std::nullopt;
    while (index-- > 0);
    return out;
  }
  if (index == 0) return std::nullopt;  // the directory of the compilation, or no file
  do {
    out = {.text = read_string(r)};
    if (!steps.take() || r.failed() || out.text.empty()) return std::nullopt;
    if (files) out.directory = r.u64(), r.u64(), r.u64();  // and when it was changed, and its size
  } while (--index > 0);
  return out;
}

std::string LineProgram::file_name(std::uint64_t file, Steps& steps) const {
  std::optional<Name> name = find_name(true, file, steps);
  if (!name) return "";
  bool whole = name->text.starts_with('/') || name->directory == 0;
  std::optional<Name> directory = whole ? std::nullopt : find_name(false, name->directory, steps);
  return directory ? cat(directory->text, "/", name->text) : std::string(name->text);
}

}  // namespace monopod::wasm::dwarf
