// Telling a profiler what stands where.
#include "wasm/jit/tier.h"

namespace monopod::wasm::jit {
namespace {

std::vector<NativeBlock::Place> places_of(std::span<const Place> places) {
  std::vector<NativeBlock::Place> out;
  for (const Place& p : places) out.push_back({p.native, p.wasm});
  return out;
}

}  // namespace

void NativeCode::tell(const CompiledFunction& made, std::string_view tier) const {
  if (listener == nullptr) return;
  listener->on_code({.module = &module, .function = made.function, .tier = tier, .code = {reinterpret_cast<const std::uint8_t*>(made.from), made.to - made.from}, .places = places_of(made.places),
                     .frame_bytes = made.frame_bytes, .link_bytes = made.link_bytes});
}

// What was found in a file: rows are functions, between them are stubs.
void NativeCode::tell_adopted() const {
  if (listener == nullptr) return;
  const auto* base = reinterpret_cast<const std::uint8_t*>(memory_->from());
  std::uint64_t at = 0;
  auto stubs_up_to = [&](std::uint64_t to) {
    if (to > at) listener->on_code({.module = &module, .tier = "cached", .code = {base + at, to - at}});
  };
  for (const SnapshotRow& row : adopted_.rows) {
    stubs_up_to(row.from);
    listener->on_code({.module = &module, .function = row.function, .tier = "cached", .code = {base + row.from, row.bytes}, .places = places_of(adopted_.places.subspan(row.places_from, row.places)),
                       .frame_bytes = row.frame_bytes, .link_bytes = row.link_bytes});
    at = std::uint64_t{row.from} + row.bytes;
  }
  stubs_up_to(adopted_.code.size());
}

}  // namespace monopod::wasm::jit
