// Compiled code's file behind its authentication: any bytes are parts that fit together, or refused.
#include <cstring>
#include <vector>

#include "tests/fuzz/fuzz.h"
#include "wasm/jit/snapshot.h"

using namespace monopod;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint64_t> aligned((size + 7) / 8);
  if (size != 0) std::memcpy(aligned.data(), data, size);
  wasm::jit::Snapshot out;
  if (!wasm::jit::parse_snapshot({reinterpret_cast<const std::uint8_t*>(aligned.data()), size}, out)) return 0;
  for (const wasm::jit::SnapshotRow& row : out.rows) {
    fuzz::check(std::uint64_t{row.from} + row.bytes <= out.code.size(), "a function is inside the code");
    fuzz::check(out.places.subspan(row.places_from, row.places).size() == row.places, "its places are there");
  }
  return 0;
}
