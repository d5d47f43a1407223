// One layer's tar applied into an empty directory that becomes an overlayfs lower directory.
//
// Whiteouts (image-spec layer.md): ".wh.x" becomes a character device 0:0, ".wh..wh..opq" the xattr trusted.overlay.opaque=y.
// Every name resolves inside the root; names with ".." are refused. Attributes are set by descriptor, never through a link.
// Kept: owner, mode with setuid/setgid/sticky, mtime to the nanosecond, user.* and security.capability xattrs, hard links,
// sparse extents, devices, FIFOs. Dropped: other xattrs (trusted.overlay.* would let an image redirect the mount).
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "codec/byte_stream.h"
#include "image/limits.h"
#include "image/tar.h"
#include "sys/root.h"

namespace monopod::image {

class LayerRecorder;

struct UnpackLimits {
  std::uint64_t bytes_max = Limits{}.layer_bytes_max;  // sum of file sizes, holes included
  std::size_t entries_max = Limits{}.layer_entries_max;
};

struct Unpacked {
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
  bool has_root = false;  // the archive described the root directory itself
  // Directories that the archive used but did not describe: they take their attributes from the layers below.
  std::vector<std::string> implicit_directories;
};

// Blocking; reads tar to its end. stop is polled between entries (kCancelled). Errors name the entry. What was written
// before an error stays: the caller throws the directory away. recorder, where there is one, is what tar reads from.
Result<Unpacked> unpack_layer(codec::ByteSource& tar, const sys::Root& root, const UnpackLimits& limits, const std::atomic<bool>& stop,
                              LayerRecorder* recorder = nullptr);

// Gives each implicit directory the owner, mode, xattrs and mtime that it has in the topmost of the parents that has it.
Result<> adopt_attributes(const sys::Root& root, const std::vector<std::string>& implicit_directories,
                          const std::vector<sys::Root>& parents_top_first);

// What is shared by all that takes a layer's tar apart. An entry is counted against the limits; each entry is applied, to the tar's end.
Result<> count_entry(const TarEntry& entry, const UnpackLimits& limits, Unpacked& unpacked);
Result<> for_each_entry(TarReader& reader, const std::atomic<bool>& stop, const std::function<Result<>(const TarEntry&)>& apply);

// What the topmost of these that has the directory says of it; nothing where none has it.
struct DirectoryState {
  struct ::stat stat = {};
  std::map<std::string, std::string> xattrs;
};
Result<std::optional<DirectoryState>> find_directory(const std::vector<sys::Root>& parents_top_first, const std::string& path);

}  // namespace monopod::image
