#include "wasm/backtrace.h"

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "wasm/dwarf/source_map.h"

namespace monopod::wasm {
namespace {

std::string hex(std::uint32_t n) {
  std::string out;
  for (; n != 0 || out.empty(); n >>= 4) out.insert(out.begin(), "0123456789abcdef"[n & 15]);
  return "0x" + out;
}

class Formatter {
 public:
  std::string out;

  void add(const BacktraceLine& line) {
    if (line.host != nullptr) return start(line.host->name);
    std::vector<dwarf::SourceFrame> places = find(line);
    std::string name = line.module->describe_function(line.function);
    for (std::size_t i = 0; i + 1 < places.size(); ++i) {
      start(places[i].function.empty() ? std::string_view("a function") : places[i].function);
      out += cat(text_of(places[i]), ", inlined");
    }
    start(name);
    out += cat(places.empty() ? std::string() : text_of(places.back()), " at ", hex(line.offset));
    if (line.repeats == 0) return;
    out += cat("\n  … ", line.repeats, " times more");
    number_ += line.repeats;
  }

 private:
  void start(std::string_view name) { out += cat("\n  #", number_++, " ", name); }

  static std::string text_of(const dwarf::SourceFrame& place) {
    if (place.file.empty() || place.line == 0) return place.file.empty() ? "" : cat(" (", place.file, ")");
    return cat(" (", place.file, ":", place.line, place.column != 0 ? cat(":", place.column) : std::string(), ")");
  }

  std::vector<dwarf::SourceFrame> find(const BacktraceLine& line) {
    auto [at, made] = maps_.try_emplace(line.module);
    if (made) at->second = std::make_unique<dwarf::SourceMap>(dwarf::find_sections(*line.module));
    return at->second->find(line.offset - line.module->code_section.from);
  }

  std::uint64_t number_ = 0;
  std::map<const ModuleData*, std::unique_ptr<dwarf::SourceMap>> maps_;
};

}  // namespace

void Backtrace::again() {
  if (!lines_.empty()) ++lines_.back().repeats;
  if (!frames_.empty() && frames_.size() < kTrapFramesMax) frames_.push_back(frames_.back());
}

void Backtrace::add(const ModuleData& module, std::uint32_t function, std::uint32_t offset) {
  if (offset == 0) offset = module.functions[function].body.from;  // it failed before its first instruction
  if (frames_.size() < kTrapFramesMax) frames_.push_back({&module, function, offset});
  if (!full()) lines_.push_back({.module = &module, .function = function, .offset = offset});
}

std::string format_backtrace(std::span<const BacktraceLine> lines) {
  Formatter f;
  for (const BacktraceLine& line : lines.first(std::min(lines.size(), kBacktraceLinesMax))) f.add(line);
  if (lines.size() > kBacktraceLinesMax) f.out += "\n  …";
  return std::move(f.out);
}

}  // namespace monopod::wasm
