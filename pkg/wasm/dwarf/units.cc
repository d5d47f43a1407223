#include "wasm/dwarf/units.h"

#include <algorithm>

namespace monopod::wasm::dwarf {
namespace {

enum Attribute : std::uint16_t {
  kName = 0x03, kStatementList = 0x10, kLowPc = 0x11, kHighPc = 0x12, kAbstractOrigin = 0x31, kSpecification = 0x47, kRanges = 0x55, kCallColumn = 0x57, kCallFile = 0x58, kCallLine = 0x59,
  kStringOffsetsBase = 0x72, kAddressBase = 0x73, kRangeListsBase = 0x74,
};
enum UnitType : std::uint8_t { kCompile = 1, kType = 2, kPartial = 3, kSkeleton = 4, kSplitCompile = 5, kSplitType = 6 };
enum RangeListEntry : std::uint8_t { kEndOfList = 0, kBaseAddressIndex = 1, kStartIndexEndIndex = 2, kStartIndexLength = 3, kOffsetPair = 4, kBaseAddress = 5, kStartEnd = 6, kStartLength = 7 };

constexpr std::uint64_t kImplicitConst = 0x21;
constexpr int kOriginsMax = 8;  // an instance of a declaration of …

Value* find_member(Entry& e, std::uint64_t attribute) {
  switch (attribute) {
    case kName: return &e.name;
    case kStatementList: return &e.line_program;
    case kLowPc: return &e.low_pc;
    case kHighPc: return &e.high_pc;
    case kAbstractOrigin: return &e.origin;
    case kSpecification: return &e.specification;
    case kRanges: return &e.ranges;
    case kCallColumn: return &e.call_column;
    case kCallFile: return &e.call_file;
    case kCallLine: return &e.call_line;
    case kStringOffsetsBase: return &e.string_offsets_base;
    case kAddressBase: return &e.address_base;
    case kRangeListsBase: return &e.range_lists_base;
    default: return nullptr;
  }
}

}  // namespace

std::optional<Unit> Unit::open(const Sections& sections, std::uint64_t offset, std::uint64_t& next, Steps& steps) {
  next = 0;
  Reader r = reader_at(sections.info, offset);
  std::optional<UnitLength> length = read_unit_length(r);
  if (!length || !steps.take()) return std::nullopt;
  next = length->end;
  Unit out;
  out.sections_ = sections;
  out.from_ = offset;
  out.end_ = length->end;
  out.offset_bytes_ = length->offset_bytes;
  out.version_ = static_cast<std::uint16_t>(read_fixed(r, 2));
  if (out.version_ < 2 || out.version_ > 5) return std::nullopt;
  std::uint8_t type = out.version_ == 5 ? r.byte() : std::uint8_t{kCompile};
  if (out.version_ == 5) out.address_bytes_ = r.byte();
  out.abbreviations_at_ = read_fixed(r, out.offset_bytes_);
  if (out.version_ < 5) out.address_bytes_ = r.byte();
  if (type == kType || type == kSplitType) return std::nullopt;  // no code in there
  if (type == kSkeleton || type == kSplitCompile) r.bytes(8);
  if (r.failed() || (out.address_bytes_ != 4 && out.address_bytes_ != 8) || !out.read_abbreviations(steps) || !out.read_entry(r, out.root_, steps) || out.root_.null) return std::nullopt;
  out.string_offsets_base_ = out.root_.string_offsets_base.number;
  out.address_base_ = out.root_.address_base.number;
  out.range_lists_base_ = out.root_.range_lists_base.number;
  out.low_pc_ = out.address_of(out.root_.low_pc).value_or(0);
  return out;
}

bool Unit::read_abbreviations(Steps& steps) {
  Reader r = reader_at(sections_.abbreviations, abbreviations_at_);
  while (!r.failed()) {
    Abbreviation a;
    a.code = r.u64();
    if (a.code == 0) break;
    a.tag = static_cast<Tag>(r.u64());
    a.children = r.byte() != 0;
    a.attributes = r.offset();
    for (;;) {
      std::uint64_t attribute = r.u64(), form = r.u64();
      if (r.failed() || !steps.take()) return false;
      if (form == kImplicitConst) r.s64();
      if (attribute == 0 && form == 0) break;
    }
    if (abbreviations_.size() == kAbbreviationsMax) return false;
    abbreviations_.push_back(a);
  }
  if (!std::ranges::is_sorted(abbreviations_, {}, &Abbreviation::code)) std::ranges::sort(abbreviations_, {}, &Abbreviation::code);
  return !r.failed();
}

Value Unit::read_value(Reader& r, std::uint64_t form, std::int64_t implicit) const {
  using enum Value::Kind;
  auto skip = [&r](std::uint64_t bytes) { return r.bytes(bytes), Value{}; };
  switch (form) {
    case 0x01: return {kAddress, read_fixed(r, address_bytes_), {}};
    case 0x03: return skip(read_fixed(r, 2));                        // block2
    case 0x04: return skip(read_fixed(r, 4));                        // block4
    case 0x05: return {kNumber, read_fixed(r, 2), {}};               // data2
    case 0x06: return {kNumber, read_fixed(r, 4), {}};               // data4
    case 0x07: return {kNumber, read_fixed(r, 8), {}};               // data8
    case 0x08: return {kString, 0, read_string(r)};                  // string
    case 0x09: case 0x18: return skip(r.u64());                      // block, exprloc
    case 0x0a: return skip(r.byte());                                // block1
    case 0x0b: case 0x0c: return {kNumber, r.byte(), {}};            // data1, flag
    case 0x0d: return {kNumber, static_cast<std::uint64_t>(r.s64()), {}};  // sdata
    case 0x0e: return {kStringOffset, read_fixed(r, offset_bytes_), {}};   // strp
    case 0x0f: return {kNumber, r.u64(), {}};                        // udata
    case 0x10: return {kReference, read_fixed(r, version_ == 2 ? address_bytes_ : offset_bytes_), {}};  // ref_addr
    case 0x11: return {kUnitReference, r.byte(), {}};                // ref1
    case 0x12: return {kUnitReference, read_fixed(r, 2), {}};        // ref2
    case 0x13: return {kUnitReference, read_fixed(r, 4), {}};        // ref4
    case 0x14: return {kUnitReference, read_fixed(r, 8), {}};        // ref8
    case 0x15: return {kUnitReference, r.u64(), {}};                 // ref_udata
    case 0x17: return {kOffset, read_fixed(r, offset_bytes_), {}};   // sec_offset
    case 0x19: return {kNumber, 1, {}};                              // flag_present
    case 0x1a: return {kStringIndex, r.u64(), {}};                   // strx
    case 0x1b: return {kAddressIndex, r.u64(), {}};                  // addrx
    case 0x1c: return skip(4);                                       // ref_sup4
    case 0x1d: return skip(offset_bytes_);                           // strp_sup
    case 0x1e: return skip(16);                                      // data16
    case 0x1f: return {kLineStringOffset, read_fixed(r, offset_bytes_), {}};  // line_strp
    case 0x20: case 0x24: return skip(8);                            // ref_sig8, ref_sup8
    case kImplicitConst: return {kNumber, static_cast<std::uint64_t>(implicit), {}};
    case 0x22: return {kNone, r.u64(), {}};                          // loclistx
    case 0x23: return {kRangeListIndex, r.u64(), {}};                // rnglistx
    case 0x25: case 0x26: case 0x27: case 0x28: return {kStringIndex, read_fixed(r, static_cast<unsigned>(form - 0x24)), {}};   // strx1 to 4
    case 0x29: case 0x2a: case 0x2b: case 0x2c: return {kAddressIndex, read_fixed(r, static_cast<unsigned>(form - 0x28)), {}};  // addrx1 to 4
    case 0x16: {  // indirect: it says of itself what it is
      std::uint64_t own = r.u64();
      if (own != 0x16 && own != kImplicitConst) return read_value(r, own, 0);
      [[fallthrough]];
    }
    default: return r.fail("form"), Value{};
  }
}

bool Unit::read_entry(Reader& r, Entry& out, Steps& steps) {
  if (r.done() || !steps.take()) return false;
  out = {.at = r.offset()};
  std::uint64_t code = r.u64();
  if (code == 0) return out.null = true, !r.failed();
  auto found = std::ranges::lower_bound(abbreviations_, code, {}, &Abbreviation::code);
  if (r.failed() || found == abbreviations_.end() || found->code != code) return false;
  out.tag = found->tag;
  out.children = found->children;
  Reader list = reader_at(sections_.abbreviations, found->attributes);
  for (;;) {
    std::uint64_t attribute = list.u64(), form = list.u64();
    if (list.failed() || !steps.take()) return false;
    std::int64_t implicit = form == kImplicitConst ? list.s64() : 0;
    if (attribute == 0 && form == 0) return true;
    Value value = read_value(r, form, implicit);
    if (r.failed()) return false;
    if (Value* member = find_member(out, attribute); member != nullptr) *member = value;
  }
}

std::optional<std::uint64_t> Unit::address_of(const Value& value) const {
  if (value.kind == Value::Kind::kAddress) return value.number;
  if (value.kind != Value::Kind::kAddressIndex || value.number > sections_.addresses.size()) return std::nullopt;
  Reader r = reader_at(sections_.addresses, address_base_ + value.number * address_bytes_);
  std::uint64_t out = read_fixed(r, address_bytes_);
  return r.failed() ? std::nullopt : std::optional(out);
}

std::vector<AddressRange> Unit::ranges_of(const Entry& entry, Steps& steps) const {
  std::vector<AddressRange> out;
  std::optional<std::uint64_t> low = address_of(entry.low_pc);
  if (entry.high_pc.kind != Value::Kind::kNone && low) {
    std::optional<std::uint64_t> high = address_of(entry.high_pc);
    out.push_back({*low, high ? *high : *low + entry.high_pc.number});
  } else if (entry.ranges.kind == Value::Kind::kRangeListIndex && entry.ranges.number <= sections_.range_lists.size()) {
    Reader r = reader_at(sections_.range_lists, range_lists_base_ + entry.ranges.number * offset_bytes_);
    ranges_version5(range_lists_base_ + read_fixed(r, offset_bytes_), out, steps);
  } else if (entry.ranges.kind != Value::Kind::kNone) {
    version_ == 5 ? ranges_version5(entry.ranges.number, out, steps) : ranges_version4(entry.ranges.number, out, steps);
  }
  // What the linker dropped: see LineProgram.
  std::erase_if(out, [](const AddressRange& range) { return range.from == 0 || range.to <= range.from; });
  return out;
}

void Unit::ranges_version4(std::uint64_t offset, std::vector<AddressRange>& out, Steps& steps) const {
  Reader r = reader_at(sections_.ranges, offset);
  std::uint64_t base = low_pc_, largest = address_bytes_ == 4 ? 0xffff'ffff : ~std::uint64_t{0};
  while (steps.take() && out.size() < kCodeRangesMax) {
    std::uint64_t from = read_fixed(r, address_bytes_), to = read_fixed(r, address_bytes_);
    if (r.failed() || (from == 0 && to == 0)) return;
    if (from == largest) base = to;
    else out.push_back({base + from, base + to});
  }
}

void Unit::ranges_version5(std::uint64_t offset, std::vector<AddressRange>& out, Steps& steps) const {
  Reader r = reader_at(sections_.range_lists, offset);
  auto address = [&] { return read_fixed(r, address_bytes_); };
  auto indexed = [&] { return address_of({Value::Kind::kAddressIndex, r.u64(), {}}).value_or(0); };
  std::uint64_t base = low_pc_;
  while (steps.take() && !r.failed() && out.size() < kCodeRangesMax) {
    std::uint64_t from = 0, to = 0;
    switch (r.byte()) {
      case kBaseAddressIndex: base = indexed(); continue;
      case kBaseAddress: base = address(); continue;
      case kStartIndexEndIndex: from = indexed(), to = indexed(); break;
      case kStartIndexLength: from = indexed(), to = from + r.u64(); break;
      case kOffsetPair: from = base + r.u64(), to = base + r.u64(); break;
      case kStartEnd: from = address(), to = address(); break;
      case kStartLength: from = address(), to = from + r.u64(); break;
      case kEndOfList: default: return;
    }
    if (!r.failed()) out.push_back({from, to});
  }
}

std::string_view Unit::text_of(const Value& value) const {
  switch (value.kind) {
    case Value::Kind::kString: return value.text;
    case Value::Kind::kStringOffset: return string_at(sections_.strings, value.number);
    case Value::Kind::kLineStringOffset: return string_at(sections_.line_strings, value.number);
    case Value::Kind::kStringIndex: {
      if (value.number > sections_.string_offsets.size()) return {};
      Reader r = reader_at(sections_.string_offsets, string_offsets_base_ + value.number * offset_bytes_);
      std::uint64_t offset = read_fixed(r, offset_bytes_);
      return r.failed() ? std::string_view() : string_at(sections_.strings, offset);
    }
    default: return {};
  }
}

std::string_view Unit::name_of(const Entry& entry, Steps& steps) {
  Entry at = entry;
  for (int i = 0; i < kOriginsMax; ++i) {
    if (at.name.kind != Value::Kind::kNone) return text_of(at.name);
    const Value& origin = at.origin.kind != Value::Kind::kNone ? at.origin : at.specification;
    // Another unit's (as whole-program optimisation leaves them) would need its abbreviations: unnamed.
    std::uint64_t to = origin.kind == Value::Kind::kUnitReference ? from_ + origin.number : origin.kind == Value::Kind::kReference ? origin.number : 0;
    if (to <= from_ || to >= end_) return {};
    Reader r = entries_from(to);
    if (!read_entry(r, at, steps) || at.null) return {};
  }
  return {};
}

}  // namespace monopod::wasm::dwarf
