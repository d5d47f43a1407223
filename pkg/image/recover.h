// What open() makes of the records and of the directory.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "image/config.h"
#include "image/content.h"
#include "image/limits.h"
#include "image/platforms.h"
#include "image/records.h"

namespace monopod::image {

struct StoreState {
  std::map<std::string, ImageRecord, std::less<>> images;        // by id
  std::map<std::string, ImageConfig, std::less<>> configs;       // by id
  std::map<std::string, std::string, std::less<>> references;    // canonical -> id
  std::map<std::string, IndexRecord, std::less<>> indexes;       // by reference
  std::map<std::string, SnapshotRecord, std::less<>> snapshots;  // by container id
  std::map<std::string, DropInRecord, std::less<>> drop_ins;     // by file name
};

// Blocking. Records that are not whole are left out, logged, and their keys added to dropped.
StoreState recover(const Content& content, const Limits& limits, const std::vector<std::pair<std::string, std::string>>& records,
                   std::vector<std::string>& dropped);

// What must stay on disk: layer keys, blob digests.
struct Referenced {
  std::set<std::string> layers, blobs;
};
Referenced referenced_by(const StoreState& state);

// Blocking. Removes layers and blobs that are not in it; returns the bytes of both.
Result<std::uint64_t> sweep_content(const Content& content, const Referenced& referenced);

// Blocking. Bytes that the tree below a directory takes on disk.
Result<std::uint64_t> tree_bytes(const sys::Root& root, const std::string& path);

}  // namespace monopod::image
