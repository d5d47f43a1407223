// What the store keeps in the StateStore, bucket "image": one JSON text per record.
//   image/<id>        manifest, index digests, layers, size, times
//   ref/<reference>   the id it names: moving a name is one write
//   index/<reference> of a name that is of several platforms' images: platforms.h
//   snapshot/<id>     image id and layer keys, topmost first
//   dropin/<file>     size, mtime and image ids of a file that was imported
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "image/assembler.h"

namespace monopod::image {

inline constexpr char kBucket[] = "image";

struct ImageRecord {
  StoredImage stored;  // references stand in records of their own
  WallTime imported{};
  WallTime last_used{};
};
struct SnapshotRecord {
  std::string image_id;
  std::vector<std::string> layers;  // keys, topmost first; empty: the image has none
};
struct DropInRecord {
  std::uint64_t size = 0;
  std::int64_t mtime_ns = 0;
  std::vector<std::string> images;
  bool failed = false;
  bool operator==(const DropInRecord&) const = default;
};

std::string format_record(const ImageRecord& record);
std::string format_record(const SnapshotRecord& record);
std::string format_record(const DropInRecord& record);
Result<ImageRecord> parse_image_record(std::string_view text);
Result<SnapshotRecord> parse_snapshot_record(std::string_view text);
Result<DropInRecord> parse_drop_in_record(std::string_view text);

}  // namespace monopod::image
