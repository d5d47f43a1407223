// A directory of files that readers see change all at once:
//
//   volume/..2026_01_02_03_04_05.123456789/  the files
//   volume/..data -> that directory          swapped by rename
//   volume/key    -> ..data/key
//
// Same layout as the field's, since programs watch for the swap of ..data (k8s.io/kubernetes pkg/volume/util/atomic_writer).
#pragma once

#include <map>
#include <string>

#include "base/clock.h"
#include "base/error.h"

namespace monopod::agent {

struct ProjectedFile {
  std::string bytes;
  int mode = 0644;
  bool operator==(const ProjectedFile&) const = default;
};
// By relative path; directories are made as needed.
using Payload = std::map<std::string, ProjectedFile>;

struct ProjectionOwner {
  int uid = -1;    // -1: left as it is (root)
  int gid = -1;
};

// kInvalidArgument for a path that is absolute, has "..", or begins with "..".
Result<> check_payload_path(const std::string& path);

// Blocking. True where something changed.
Result<bool> write_payload(const std::string& directory, const Payload& payload, ProjectionOwner owner, WallTime now);

}  // namespace monopod::agent
