// Trees of containers as tar streams, both ways (cp, export). Blocking. Every name resolves inside the root.
#pragma once

#include <string>

#include "codec/byte_stream.h"
#include "codec/json.h"
#include "sys/root.h"

namespace monopod::docker {

// What X-Docker-Container-Path-Stat says: name, size, mode as Go's os.FileMode, mtime, linkTarget.
Result<json::Value> describe_path(const sys::Root& root, const std::string& path);
// path and all below it, under the name base ("." for a directory's content). Sockets are left out.
Result<> write_tree(const sys::Root& root, const std::string& path, const std::string& base, codec::ByteSink& output);

struct ExtractOptions {
  bool keep_kinds = false;   // a directory is not replaced by another kind, nor the other way
  bool keep_owner = true;    // else all is whose process this is
};
// Into the directory path, which must exist. gzip and zstd are seen by their first bytes.
Result<> extract_tree(codec::ByteSource& input, const sys::Root& root, const std::string& path, const ExtractOptions& options);

// Changes of an overlayfs upper directory over its lower ones: path -> 0 modified, 1 added, 2 deleted. What the runtime made for its mounts is
// left out.
Result<json::Array> find_changes(const std::string& upper, const std::vector<std::string>& lowers, const std::vector<std::string>& mount_points);

}  // namespace monopod::docker
