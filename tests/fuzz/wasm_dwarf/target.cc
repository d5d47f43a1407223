// DWARF as a module may carry it: any bytes are read within a bound. The input is nine sections, each behind its size in two bytes; the last takes what is left.
#include "tests/fuzz/fuzz.h"
#include "wasm/dwarf/source_map.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::span<const std::uint8_t> rest(data, size);
  wasm::dwarf::Sections sections;
  wasm::dwarf::Bytes* order[] = {&sections.info, &sections.abbreviations, &sections.strings, &sections.line_strings, &sections.string_offsets, &sections.addresses, &sections.ranges, &sections.range_lists};
  for (wasm::dwarf::Bytes* section : order) {
    if (rest.size() < 2) break;
    std::size_t bytes = std::min<std::size_t>(rest[0] + 256U * rest[1], rest.size() - 2);
    *section = rest.subspan(2, bytes);
    rest = rest.subspan(2 + bytes);
  }
  sections.line = rest;
  wasm::dwarf::SourceMap map(sections, 100'000);
  for (std::uint64_t address : {0x3ULL, 0x20ULL, 0x50ULL, 0x100ULL, 0xffff'fffeULL}) {
    std::vector<wasm::dwarf::SourceFrame> frames = map.find(address);
    fuzz::check(frames.empty() || !frames.back().inlined, "the last frame is the function itself");
    for (const wasm::dwarf::SourceFrame& f : frames) fuzz::check(f.function.size() <= wasm::dwarf::kTextBytesMax, "names are bounded");
  }
  fuzz::check(map.units(10).size() <= 10, "units are bounded");
  return 0;
}
