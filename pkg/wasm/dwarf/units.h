// Units of .debug_info and their entries: which code is of which unit, function and inlined call (DWARF 5, chapters 2, 3 and 7; versions 2 to 5).
#pragma once

#include <string>
#include <vector>

#include "wasm/dwarf/sections.h"

namespace monopod::wasm::dwarf {

inline constexpr std::size_t kUnitsMax = 100'000, kAbbreviationsMax = 100'000, kCodeRangesMax = 1'000'000;

enum Tag : std::uint16_t { kCompileUnit = 0x11, kInlinedSubroutine = 0x1d, kSubprogram = 0x2e, kSkeletonUnit = 0x4a };

// An attribute's value, as far as something here asks for it.
struct Value {
  enum class Kind : std::uint8_t { kNone, kNumber, kAddress, kAddressIndex, kString, kStringOffset, kLineStringOffset, kStringIndex, kUnitReference, kReference, kOffset, kRangeListIndex };
  Kind kind = Kind::kNone;
  std::uint64_t number = 0;
  std::string_view text;  // of kString
};

// An entry: what of it is used.
struct Entry {
  std::uint64_t at = 0;  // in .debug_info
  Tag tag{};
  bool children = false;
  bool null = false;  // the end of its parent's children
  Value name, low_pc, high_pc, ranges, origin, specification, call_file, call_line, call_column, line_program, string_offsets_base, address_base, range_lists_base;
};

struct AddressRange {
  std::uint64_t from = 0, to = 0;
};

class Unit {
 public:
  // Of the header at offset, and its first entry. next: where the unit behind it begins; 0 where nothing more can be read.
  static std::optional<Unit> open(const Sections& sections, std::uint64_t offset, std::uint64_t& next, Steps& steps);
  const Entry& root() const { return root_; }
  unsigned version() const { return version_; }
  unsigned address_bytes() const { return address_bytes_; }
  std::uint64_t from() const { return from_; }

  std::vector<AddressRange> ranges_of(const Entry& entry, Steps& steps) const;
  std::string_view text_of(const Value& value) const;
  // Its own, or that of what it is an instance of.
  std::string_view name_of(const Entry& entry, Steps& steps);

  // The entries in their order from one on.
  Reader entries_from(std::uint64_t at) const { return reader_at(sections_.info.first(end_), at); }
  bool read_entry(Reader& r, Entry& out, Steps& steps);  // false: damaged, the end, or out of steps

 private:
  struct Abbreviation {
    std::uint64_t code = 0, attributes = 0;  // where the list of attributes is
    Tag tag{};
    bool children = false;
  };
  bool read_abbreviations(Steps& steps);
  Value read_value(Reader& r, std::uint64_t form, std::int64_t implicit) const;
  std::optional<std::uint64_t> address_of(const Value& value) const;
  void ranges_version4(std::uint64_t offset, std::vector<AddressRange>& out, Steps& steps) const;
  void ranges_version5(std::uint64_t offset, std::vector<AddressRange>& out, Steps& steps) const;

  Sections sections_;
  std::uint64_t from_ = 0, end_ = 0, abbreviations_at_ = 0;
  std::uint16_t version_ = 0;
  unsigned offset_bytes_ = 4, address_bytes_ = 4;
  std::vector<Abbreviation> abbreviations_;  // by code
  Entry root_;
  std::uint64_t low_pc_ = 0, string_offsets_base_ = 0, address_base_ = 0, range_lists_base_ = 0;
};

}  // namespace monopod::wasm::dwarf
