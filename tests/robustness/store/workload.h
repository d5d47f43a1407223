// Clients that write pairs of keys and remember what was acknowledged, and the check of a store after a disaster.
#pragma once

#include <map>

#include "store/test_support.h"

namespace monopod::testing {

// Per key: numbers written so far; each write of a key carries the next number.
struct Journal {
  struct Key {
    int acknowledged = 0;
    int attempted = 0;
    bool deleted_maybe = false;  // an unacknowledged delete may have happened
  };
  std::map<std::string, Key> keys{};
  std::int64_t revision_max = 0;  // acknowledged
  std::int64_t writes = 0;        // acknowledged
};

// Runs clients side by side, each over its own keys, until writes_max acknowledged or attempted writes or the first error.
async::Task<Result<>> run_clients(store::StoreTest& test, Journal& journal, std::uint64_t seed, int clients, int writes_each);

// No acknowledged write is lost, none is invented, both keys of a pair agree, revisions never fall, and the watch
// from the oldest readable revision replays to the very state that a range shows.
async::Task<Result<>> check_store(store::StoreTest& test, Journal& journal);

inline bool long_run() { return ::getenv("MONOPOD_LONG") != nullptr; }
// SEED=n replays one; else base.
inline std::uint64_t seed_or(std::uint64_t base) {
  const char* text = ::getenv("SEED");
  return text ? std::strtoull(text, nullptr, 10) : base;
}

}  // namespace monopod::testing
