// A build's cache outside of its data directory: an image whose configuration holds records of steps, and whose layers are what the steps made.
//
//   "monopod.cache.v1": {"steps": {"<key>": "<diff id of the layer that the step added>" | ""}, "images": {"<key>": "<created>"}}
//
// A key says all that went into its step (build.h: Build::layer), the layers below included; of an image, what it is made of but its time. Layers are checked against
// their digests as any image's. That a step's words make this layer is the word of who made the cache: it is trusted as a base image is, and no further: a record can add one
// layer at its step, change nothing below it and nothing of the configuration, and is forgotten with the build that named it.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/error.h"
#include "codec/json.h"

namespace monopod::build {

inline constexpr std::string_view kCacheMember = "monopod.cache.v1";

struct CacheRecords {
  std::map<std::string, std::string> steps;   // key -> diff id, or empty: the step changed no files
  std::map<std::string, std::string> images;  // key -> RFC 3339

  bool empty() const { return steps.empty() && images.empty(); }
};

// Of an image's configuration; none where it holds none. kInvalidArgument for what is no record: not a digest, not a time.
Result<CacheRecords> parse_cache(std::string_view config);
json::Value format_cache(const CacheRecords& records);

}  // namespace monopod::build
