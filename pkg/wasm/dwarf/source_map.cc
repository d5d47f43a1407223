#include "wasm/dwarf/source_map.h"

#include <algorithm>

namespace monopod::wasm::dwarf {
namespace {

// What goes to a terminal or a log: a module's own text, so without what would steer either.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, kTextBytesMax));
  if (!is_valid_utf8(out)) std::ranges::replace_if(out, [](char c) { return (c & 0x80) != 0; }, '?');
  std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return out;
}

}  // namespace

const SourceMap::Code* SourceMap::find_code(const std::vector<Code>& list, std::uint64_t address) {
  auto after = std::ranges::upper_bound(list, address, {}, &Code::from);
  return after != list.begin() && address < std::prev(after)->to ? &*std::prev(after) : nullptr;
}

template <typename F>
void SourceMap::each_unit(F body) {
  std::uint64_t next = 0;
  std::size_t count = 0;
  do {
    std::optional<Unit> unit = Unit::open(sections_, next, next, steps_);
    if (unit && !body(*unit)) return;
  } while (next != 0 && next < sections_.info.size() && ++count < kUnitsMax);
}

std::vector<SourceUnit> SourceMap::units(std::size_t count_max) {
  std::vector<SourceUnit> out;
  each_unit([&](const Unit& unit) {
    out.push_back({shown(unit.text_of(unit.root().name)), unit.version()});
    return out.size() < count_max;
  });
  return out;
}

bool SourceMap::open_unit(std::uint64_t address) {
  if (!units_listed_) {
    units_listed_ = true;
    each_unit([this](const Unit& unit) {
      for (const AddressRange& range : unit.ranges_of(unit.root(), steps_)) units_.push_back({range.from, range.to, unit.from()});
      return units_.size() < kCodeRangesMax;
    });
    std::ranges::sort(units_, {}, &Code::from);
  }
  const Code* code = find_code(units_, address);
  if (code == nullptr) return false;
  if (unit_ && unit_->from() == code->at) return true;
  std::uint64_t next = 0;
  unit_ = Unit::open(sections_, code->at, next, steps_);
  if (!unit_) return false;
  lines_ = unit_->root().line_program.kind == Value::Kind::kNone ? std::nullopt : LineProgram::open(sections_, unit_->root().line_program.number, unit_->address_bytes(), steps_);
  list_functions();
  return true;
}

void SourceMap::list_functions() {
  functions_.clear();
  Reader r = unit_->entries_from(unit_->root().at);
  for (Entry entry; unit_->read_entry(r, entry, steps_) && functions_.size() < kCodeRangesMax;)
    if (!entry.null && entry.tag == kSubprogram)
      for (const AddressRange& range : unit_->ranges_of(entry, steps_)) functions_.push_back({range.from, range.to, entry.at});
  std::ranges::sort(functions_, {}, &Code::from);
}

void SourceMap::place(SourceFrame& frame, const Line& line) {
  if (lines_) frame.file = shown(lines_->file_name(line.file, steps_));
  frame.line = line.line;
  frame.column = line.column;
}

// The function, and within it the calls that were inlined around the address: each is in the one before.
std::vector<SourceFrame> SourceMap::calls_at(std::uint64_t address) {
  std::vector<SourceFrame> out;
  const Code* function = find_code(functions_, address);
  if (function == nullptr) return out;
  std::vector<Line> callers;  // where each was called
  Reader r = unit_->entries_from(function->at);
  std::vector<std::size_t> depths;
  std::size_t depth = 0;
  for (Entry entry; unit_->read_entry(r, entry, steps_);) {
    if (entry.null) {
      if (depth <= 1) break;
      --depth;
      continue;
    }
    bool outermost = depth == 0;
    if (outermost || entry.tag == kInlinedSubroutine) {
      std::vector<AddressRange> ranges = unit_->ranges_of(entry, steps_);
      bool here = std::ranges::any_of(ranges, [address](const AddressRange& range) { return address >= range.from && address < range.to; });
      // Calls beside each other overlap where an optimiser has moved code: the last one says where it is from.
      while (here && !outermost && depths.back() >= depth) out.pop_back(), depths.pop_back(), callers.pop_back();
      if (here && out.size() < kInlinedMax) {
        out.push_back({.function = shown(unit_->name_of(entry, steps_)), .inlined = !outermost});
        depths.push_back(depth);
        callers.push_back({entry.call_file.number, static_cast<std::uint32_t>(entry.call_line.number), static_cast<std::uint32_t>(entry.call_column.number)});
      }
    }
    if (entry.children) ++depth;
    if (depth == 0) break;
  }
  for (std::size_t i = 0; i + 1 < out.size(); ++i) place(out[i], callers[i + 1]);
  std::ranges::reverse(out);
  return out;
}

std::vector<SourceFrame> SourceMap::find(std::uint64_t address) {
  if (sections_.empty()) return {};
  if (sections_.info.empty()) return find_without_units(address);
  if (!open_unit(address)) return {};
  std::vector<SourceFrame> out = calls_at(address);
  std::optional<Line> line = lines_ ? lines_->find(address, steps_) : std::nullopt;
  if (out.empty() && line) out.emplace_back();
  if (line) place(out.front(), *line);
  return out;
}

std::vector<SourceFrame> SourceMap::find_without_units(std::uint64_t address) {
  std::vector<SourceFrame> out;
  for (std::uint64_t at = 0; at < sections_.line.size() && steps_.take();) {
    lines_ = LineProgram::open(sections_, at, 4, steps_);
    if (!lines_) return out;
    if (std::optional<Line> line = lines_->find(address, steps_)) {
      place(out.emplace_back(), *line);
      return out;
    }
    at = lines_->end();
  }
  return out;
}

}  // namespace monopod::wasm::dwarf
