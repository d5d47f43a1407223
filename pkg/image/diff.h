// What tells two images apart, from saved archives (archive_writer.h): their layers' trees are put together by name and compared.
//
// Compared are type, mode, owner, size and content of files, link targets, device numbers and attributes; not times, which builds change without changing anything.
// A further name of a file (a hard link) counts as the file itself. Blocking.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "codec/byte_stream.h"
#include "codec/json.h"
#include "image/limits.h"
#include "image/tar.h"

namespace monopod::image {

struct FileState {
  TarEntry::Type type = TarEntry::Type::kFile;
  std::uint32_t mode = 0, uid = 0, gid = 0;
  std::uint64_t bytes = 0;  // of a file
  std::string content;      // a file's digest, a link's target, a device's numbers
  std::string xattrs;       // digest of them; empty: none
  bool operator==(const FileState&) const = default;
};
using Tree = std::map<std::string, FileState, std::less<>>;  // by path without '/' at its ends

struct Change {
  enum class Kind { kAdded, kChanged, kRemoved };
  Kind kind = Kind::kAdded;
  std::string path;
  std::uint64_t bytes_before = 0, bytes_after = 0;
  std::vector<std::string_view> what;  // of what changed: "type", "content", "mode", "owner", "attributes"
};

// One layer's entries in the order of its tar, whiteouts among them.
struct Listing {
  std::vector<std::pair<std::string, FileState>> entries;  // a hard link's content is the name that it links to
};
// raw: as the layer came, compressed or not, to its end. kInvalidArgument, kDataLoss, kResourceExhausted as an import.
Result<Listing> read_listing(codec::ByteSource& raw, const Limits& limits);
// Over what the layers below have made.
void apply_listing(const Listing& listing, Tree& tree);
// Sorted by path. Of a directory that came or went, all below it are listed as well.
std::vector<Change> compare_trees(const Tree& before, const Tree& after);

struct SavedLayer {
  std::string diff_id;
  std::string created_by;  // of the history; empty where it says nothing
  std::uint64_t blob_bytes = 0;
  const Listing* listing = nullptr;  // the archive's
};
struct SavedImage {
  std::string id;
  std::vector<SavedLayer> layers;  // base first
};
struct SavedImages {
  std::map<std::string, Listing> listings;  // by digest of the blob
  std::vector<SavedImage> images;           // in the archive's order; twice where it stands there under two names
};
// An OCI layout tar, to its end. Every blob is checked against its name: kDataLoss.
Result<SavedImages> read_saved_images(codec::ByteSource& archive, const Limits& limits);

}  // namespace monopod::image
