// A file of lines that is put aside when it is full: "audit.log" becomes "audit-2026-01-02T03-04-05.006.log" (the time in UTC, as the
// logs of Go's servers do it), and a new one begins. Old ones go by number and age. Readable for the owner alone. Calls block: from a pool.
#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "sys/fd.h"

namespace monopod::sys {

struct RotationLimits {
  std::uint64_t bytes_max = 100U << 20;  // of one file; a line goes into one file, also where it alone is larger
  int old_files_max = 0;                 // 0: any number
  Duration age_max{};                    // of old ones, by their names; 0: any
};

class RotatingFile {
 public:
  // Goes on with what is there. kFailedPrecondition where the path is a symbolic link or no regular file.
  static Result<RotatingFile> open(const std::string& path, RotationLimits limits);

  // Whole lines. A failed write leaves no part of a line (a full disk); one that finds the file gone makes a new one.
  Result<> write(std::string_view lines, WallTime now);

 private:
  Result<> open_current();
  Result<> rotate(WallTime now);
  void remove_old(WallTime now);

  Fd directory_;
  std::string path_, name_, stem_, extension_;  // "audit" and ".log" of "audit.log"
  RotationLimits limits_;
  Fd file_;
  std::uint64_t bytes_ = 0;
};

}  // namespace monopod::sys
