// Machine code as bytes of a file: what one process compiled, the next one maps. Code holds no address but distances within itself; what it calls outside it finds
// through the Vm (helpers, natives, foreigns). All numbers are of the host's byte order; offsets are from the start of the code, ~0 is none.
//
//   SnapshotHead | natives, enters: offset by function | foreigns: offset by type | states: byte by function, padded
//                | rows, ascending | places | loops | padded to a page | code
#pragma once

#include <cstdint>
#include <span>

#include "wasm/jit/compiled.h"

namespace monopod::wasm::jit {

struct SnapshotHead {
  std::uint32_t functions = 0, types = 0, rows = 0, places = 0, loops = 0;
  std::uint32_t by_slots = 0;
  std::uint64_t code_at = 0, code_bytes = 0;
};
struct SnapshotRow {
  std::uint32_t function = 0, from = 0, bytes = 0, frame_bytes = 0, link_bytes = 0, places_from = 0, places = 0, saved = 0, saved_bytes = 0;
};
struct SnapshotLoop {
  std::uint32_t function = 0, loop = 0, at = 0;
};

// The parts of one, where they stand in its bytes.
struct Snapshot {
  SnapshotHead head;
  std::span<const std::uint32_t> natives, enters, foreigns;
  std::span<const std::uint8_t> states;
  std::span<const SnapshotRow> rows;
  std::span<const Place> places;
  std::span<const SnapshotLoop> loops;
  std::span<const std::uint8_t> code;
};

// False where the parts do not fit together: every offset is inside the code, every place of a row there. bytes: at an address that is a multiple of 8.
bool parse_snapshot(std::span<const std::uint8_t> bytes, Snapshot& out);

}  // namespace monopod::wasm::jit
