// Makes a small image from files without a container: an OCI layout tar with one gzip layer.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "image/config.h"

namespace monopod::image {

struct BuildFile {
  std::string path;          // in the image, absolute
  std::string source;        // regular file or directory (recursively) on the host; empty: see below
  std::string content;       // of a regular file, where source is empty
  std::string link_target;   // a symbolic link, where not empty
  bool directory = false;    // an empty directory
  unsigned mode = 0;         // 0: the source's, else 0755 for directories, 0644 for content
  unsigned uid = 0, gid = 0;
};

struct BuildOptions {
  std::string reference;     // "example:1"; normalised into the archive
  std::vector<BuildFile> files;
  ImageConfig config;        // platform defaults to the host's; diff_ids are filled in
  WallTime created{};        // also every file's time: the same input gives the same bytes
};

// Blocking. Writes to output_path (temporary file beside it, then rename). Returns the manifest digest.
Result<std::string> build_archive(const BuildOptions& options, const std::string& output_path);

}  // namespace monopod::image
