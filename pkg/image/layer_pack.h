// A directory of changes (the upper one of an overlayfs) as a layer's tar: the way back of unpack.h.
//
// Entries are sorted, and carry no names of users: the same tree gives the same bytes. Character devices 0:0 become ".wh." entries, opaque
// directories hold ".wh..wh..opq". The root itself is not described. Kept are what unpack.h keeps.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "codec/byte_stream.h"
#include "sys/root.h"

namespace monopod::image {

struct PackOptions {
  std::optional<std::int64_t> mtime_max_seconds;  // later times become this one (SOURCE_DATE_EPOCH)
  std::set<std::string> undescribed = {};         // directories ("a/b") without an entry of their own
};

struct Packed {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;  // of files
};

// Blocking. Writes the tar to its end. kUnimplemented for a directory that overlayfs only redirects: its content is not here. Sockets are left out.
Result<Packed> pack_layer(const sys::Root& root, codec::ByteSink& output, const PackOptions& options, const std::atomic<bool>& stop);
// Whether there is anything to pack.
Result<bool> has_changes(const sys::Root& root);

}  // namespace monopod::image
