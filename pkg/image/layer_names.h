// What a tar entry's name means in a layer: whiteouts (image-spec layer.md) and names that no layer may bring. Shared by both forms of a layer.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "image/tar.h"

namespace monopod::image {

struct LayerName {
  enum class Kind {
    kEntry,
    kRoot,
    kWhiteout,  // hides path in the layers below
    kOpaque,    // hides all that the layers below have in directory
    kNothing,   // bookkeeping of AUFS, of no meaning here
  };
  Kind kind = Kind::kEntry;
  std::string path;  // without "", "." and ".."; directory and leaf are its parts
  std::string directory, leaf;
};
// kInvalidArgument: "..", too long, too deep, a whiteout of nothing or as a directory, a root that is no directory.
Result<LayerName> read_layer_name(const TarEntry& entry);

// "a/b" of "./a//b/": no "", "." or ".." components; empty for the root itself.
Result<std::string> clean_path(std::string_view name);
std::pair<std::string_view, std::string_view> split_leaf(std::string_view path);
// For errors.
std::string shown_name(std::string_view name);
// trusted.overlay.* would let an image redirect the mount.
bool keeps_xattr(std::string_view name);

}  // namespace monopod::image
