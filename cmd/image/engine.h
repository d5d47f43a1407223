// `monopod image` on the data directory of an engine that runs: over its API.
#pragma once

#include "cmd/image/local.h"

namespace monopod::cmd {

// The engine's data directory, where nobody said another and no node has images here; else as it is said. said: --data-dir or the environment.
std::string choose_image_directory(const std::string& data_dir, bool said);
// Whether something listens on the node's socket: else the directory is nobody's, and this process opens it itself.
bool node_runs(const std::string& data_dir);
// Whether an engine serves the images of this directory.
bool engine_serves(const std::string& data_dir);

// local: the function that does the same in a directory of one's own. kUnimplemented for what an engine has no call for.
Result<> engine_images(Result<> (*local)(const ImageOptions& options), const ImageOptions& options);
// The engine's images as one tar, to a descriptor that stays the caller's.
Result<> engine_save(const std::vector<std::string>& names, int to);

}  // namespace monopod::cmd
