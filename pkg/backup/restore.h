// A backup becomes a data directory again. Blocking.
#pragma once

#include <string>

#include "backup/backup_file.h"
#include "store/offline.h"

namespace monopod::backup {

struct RestoreOptions {
  // Added to the newest revision; everything before then counts as compacted. Clients that saw later revisions than the backup has
  // (API server caches, watches) are so told to start over, instead of meeting revisions a second time with other content.
  std::int64_t bump_revision = 0;
};

// Checks the whole backup, then writes data_dir/state.db: whole and fsynced, or not at all. data_dir is made (0700) if absent.
// kAlreadyExists: something is in data_dir. What decode() refuses is refused before data_dir is touched.
Result<Info> restore(const std::string& backup_path, const std::string& data_dir, const RestoreOptions& options, const OnProgress& progress = {});

// The same checks of the target, for other formats: an empty or absent folder; leftovers of a restore that was killed do not count.
Result<> check_restore_target(const std::string& data_dir);

}  // namespace monopod::backup
