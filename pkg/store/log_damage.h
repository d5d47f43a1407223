// Damage in the middle of SQLite's write-ahead log. SQLite stops reading at the first frame that does not fit and takes the rest for what a
// power cut left half written. Where every commit is synced before the next one begins, only the last commit can be that; a sound frame behind
// a later commit means that acknowledged commits stand after the bad place, and going on would lose them without a word.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"

namespace monopod::store {

// The offset of the first frame that does not fit, where a whole commit and a frame after it follow; nullopt: sound, no log, or only its end
// is missing. Reads the log once. A scribbled last commit looks like one half written, a scribbled header (32 bytes) like no log. The format:
// sqlite.org/fileformat2.html section 4.
Result<std::optional<std::int64_t>> find_log_damage(const std::string& path);

}  // namespace monopod::store
