// Layers opened for reading, in either form: a directory "fs", or where there is none, the EROFS image "erofs" beside it, mounted where nobody sees it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "sys/fd.h"
#include "sys/root.h"

namespace monopod::image {

struct Snapshot;

// How layers that come are kept. A store may hold both; each serves every image.
enum class LayerForm { kDirectory, kErofs, kErofsZstd };
// "directory", "erofs", "erofs-zstd": kInvalidArgument for others.
Result<LayerForm> parse_layer_form(std::string_view text);

struct OpenLayer {
  sys::Fd mount;  // of an image; it ends with this, its root and all that is open below
  sys::Root fs;
  std::optional<sys::Root> kept;  // of an image that has some: layer_record.h
};
// directory: absolute, of "fs". Blocking. kFailedPrecondition naming what the kernel lacks.
Result<OpenLayer> open_layer(const std::string& directory);
Result<OpenLayer> open_layer_image(const std::string& image);
// The image that stands for a directory; nothing where the directory is there.
std::optional<std::string> find_layer_image(const std::string& directory);
// A detached mount of an image; through a loop device, which goes with it, where the kernel mounts no files.
Result<sys::Fd> mount_layer_image(const std::string& image);
// Whether layers of this form can be used here: made and mounted below directory, where nothing is left. The error says what is missing.
Result<> check_layer_form(const sys::Root& directory, LayerForm form);

// The images that are mounted: each once for all who stand on it, so that they share what the kernel caches of it, and not longer than for the last of them.
// Threads may share it.
class LayerMounts {
 public:
  // Opens those of the snapshot's layers that are images.
  Result<> open(Snapshot& snapshot);

 private:
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<const OpenLayer>> open_;
};

}  // namespace monopod::image
