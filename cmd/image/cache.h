// --cache-from and --cache-to of `monopod image build`, in buildx's words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "build/builder.h"
#include "cmd/image/local.h"

namespace monopod::cmd {

struct CachePlace {
  enum class Type { kRegistry, kLocal, kInline };
  Type type = Type::kRegistry;
  bool plain = false;       // IMAGE alone: the one that is here, or its registry's
  std::string text;         // as it was given
  std::string reference;    // kRegistry
  std::string directory;    // kLocal: an OCI layout
  bool all_stages = false;  // mode=max
  bool may_fail = false;    // ignore-error=true
};

// "IMAGE", "type=registry,ref=IMAGE", "type=local,src=DIR" (to: dest=DIR), and to: "type=inline". to also takes mode=min|max and ignore-error=true|false.
// kInvalidArgument, kUnimplemented for a type or an attribute that is another's.
Result<CachePlace> parse_cache_place(std::string_view text, bool to);

// What a build takes from its places: images with records, there until release().
class ImportedCaches {
 public:
  // A place that cannot be had is passed over with a warning: the build goes on without.
  async::Task<Result<>> fetch(LocalStore& store, const ImageOptions& image, const std::vector<CachePlace>& places);
  const std::vector<std::string>& images() const { return images_; }
  // built: stays, though a cache was that very image.
  async::Task<Result<>> release(LocalStore& store, std::string built);

 private:
  async::Task<Result<std::string>> fetch_one(LocalStore& store, const ImageOptions& image, const CachePlace& place);
  std::vector<std::string> images_;    // ids
  std::vector<std::pair<std::string, std::string>> borrowed_;  // those that were not here, with the names under which they came
};

// Sends a built cache to its place.
async::Task<Result<>> export_cache(LocalStore& store, const ImageOptions& image, const CachePlace& place, std::string cache_id);

}  // namespace monopod::cmd
