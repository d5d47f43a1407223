// Collects an image's documents and layers, from an archive or a registry, and publishes them together. Blocking; one import
// each. Nothing is visible before publish(), which verifies nothing more: what was added has been verified.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "image/config.h"
#include "image/content.h"
#include "image/limits.h"
#include "image/manifest.h"

namespace monopod::image {

// What the store remembers of an image.
struct StoredImage {
  std::string id;
  std::string manifest_digest;
  std::vector<std::string> index_digests;  // by which it was reached
  std::vector<std::string> repo_digests;   // "repository@digest" of what registries were asked for: the index, where there is one
  std::vector<std::string> references;     // canonical
  std::vector<std::string> layers;         // keys, base first
  std::vector<std::string> blobs;          // of the layers, base first: kept where the content keeps blobs
  std::uint64_t size_bytes = 0;
  // Of the index by which it was imported with others: their ids, its own among them, and the names of all. Not remembered with it.
  std::vector<std::string> index_of = {}, index_references = {};
};

class Assembler {
 public:
  // Called for a layer that is not here yet: its bytes unpacked into staging. The assembler checks both digests.
  using LayerSource = std::function<Result<StagedLayer>(const Descriptor&)>;

  Assembler(const Content& content, const Limits& limits) : content_(content), limits_(limits) {}

  // manifest_text matches manifest_digest and config_text matches manifest.config, else kDataLoss. Returns the image without
  // references. blob digests of a docker-archive's layers are not known beforehand: verify_blobs false trusts the diff ids alone.
  struct Documents {
    std::string manifest_digest;
    std::string manifest_text;
    Manifest manifest;
    std::string config_text;
  };
  Result<StoredImage> add(const Documents& documents, const LayerSource& source);

  // An image whose lower layers are those of one that is here, under others, lowest first; published. The documents are ours.
  Result<StoredImage> add_over(const std::optional<StoredImage>& base, const Documents& documents, const std::vector<LayerSource>& above);

  Result<> publish();

 private:
  Result<std::string> add_layer(const Descriptor& blob, const std::string& diff_id, const std::string& chain,
                                const std::vector<std::string>& parent_keys, const LayerSource& source, std::uint64_t& bytes);
  std::string path_of(const std::string& key) const;

  const Content& content_;
  const Limits& limits_;
  std::vector<StagedLayer> staged_;
  std::map<std::string, std::size_t> staged_by_key_;
  std::map<std::string, std::string> blobs_;  // by digest
  std::uint64_t unpacked_bytes_ = 0;
};

}  // namespace monopod::image
