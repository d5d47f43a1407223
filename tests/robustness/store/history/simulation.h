// A whole history from one seed, in one thread: the store over a disk that loses power, fails and fills up, clients, watches, and a
// clock that jumps. The same seed gives the same history.
#pragma once

#include <functional>

#include "tests/robustness/store/history/history.h"
#include "tests/support/crash_vfs/crash_vfs.h"

namespace monopod::testing {

struct SimulationOptions {
  std::uint64_t seed = 1;
  bool verbose = false;  // prints the faults
  // --- to see that the judge notices
  bool syncs_lie = false;                                                        // the disk says synced and is not
  std::function<void(const std::string& file, Rng& rng)> between_lives{};        // tampers with the closed file
  std::function<std::unique_ptr<store::Backend>(store::Backend&)> wrap{};        // stands between store and clients
};

struct Simulated {
  History history{};
  std::vector<std::string> findings{};  // of the simulation itself: stuck, would not open
};

Simulated simulate(const SimulationOptions& options);

}  // namespace monopod::testing
