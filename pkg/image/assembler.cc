#include "image/assembler.h"

#include <algorithm>

#include "base/failpoint.h"
#include "base/strings.h"
#include "image/digest.h"
#include "image/layer_unpacker.h"

namespace monopod::image {

// Where the layer is now: staged by this import, or published.
std::string Assembler::path_of(const std::string& key) const {
  auto found = staged_by_key_.find(key);
  if (found == staged_by_key_.end()) return content_.layer_path(key);
  return cat(sys::fd_path(content_.root().fd()), "/", staged_[found->second].directory->path(), "/fs");
}

Result<std::string> Assembler::add_layer(const Descriptor& blob, const std::string& diff_id, const std::string& chain,
                                         const std::vector<std::string>& parent_keys, const LayerSource& source, std::uint64_t& bytes) {
  for (const std::string& key : {diff_id, chain}) {
    auto found = staged_by_key_.find(key);
    if (found == staged_by_key_.end()) continue;
    const LayerMeta& known = staged_[found->second].meta;
    if (known.diff_id != diff_id || (known.implicit && key != chain) || (content_.keeps_blobs() && known.digest != blob.digest)) continue;
    bytes = known.bytes;
    return key;
  }
  if (auto known = content_.find_layer(diff_id, chain, blob.digest); known && known->diff_id == diff_id) {
    bytes = known->bytes;
    return known->key;
  }
  TRY_ASSIGN(StagedLayer layer, source(blob));
  if (layer.meta.digest != blob.digest)
    return fail(Code::kDataLoss, cat("layer ", blob.digest, ": content does not match the digest (it is ", layer.meta.digest, ")"));
  if (layer.meta.blob_bytes != blob.size)
    return fail(Code::kDataLoss, cat("layer ", blob.digest, ": ", layer.meta.blob_bytes, " bytes, the manifest says ", blob.size));
  if (layer.meta.diff_id != diff_id)
    return fail(Code::kDataLoss, cat("layer ", blob.digest, ": unpacked content is ", layer.meta.diff_id, ", the configuration says ", diff_id));
  unpacked_bytes_ += layer.meta.bytes;
  if (unpacked_bytes_ > limits_.import_bytes_max) return fail(Code::kResourceExhausted, cat("more than ", limits_.import_bytes_max, " bytes unpacked"));
  std::vector<std::string> parents;
  for (auto key = parent_keys.rbegin(); key != parent_keys.rend(); ++key) parents.push_back(path_of(*key));
  TRY(settle_layer(content_, layer, chain, parents));
  bytes = layer.meta.bytes;
  std::string key = layer.meta.key;
  staged_by_key_[key] = staged_.size();
  staged_.push_back(std::move(layer));
  TRY(failpoint("image.after_unpack"));
  return key;
}

Result<StoredImage> Assembler::add(const Documents& documents, const LayerSource& source) {
  const Manifest& manifest = documents.manifest;
  if (digest_of(documents.manifest_text) != documents.manifest_digest)
    return fail(Code::kDataLoss, cat("manifest ", documents.manifest_digest, ": content does not match the digest"));
  if (digest_of(documents.config_text) != manifest.config.digest || documents.config_text.size() != manifest.config.size)
    return fail(Code::kDataLoss, cat("configuration ", manifest.config.digest, ": content does not match the digest or size"));
  TRY_ASSIGN(ImageConfig config, parse_image_config(documents.config_text));
  if (config.diff_ids.size() != manifest.layers.size())
    return fail(Code::kInvalidArgument, cat("manifest has ", manifest.layers.size(), " layers, the configuration ", config.diff_ids.size()));
  StoredImage out{.id = manifest.config.digest, .manifest_digest = documents.manifest_digest, .index_digests = {}, .repo_digests = {}, .references = {}, .layers = {}};
  std::string chain;
  for (std::size_t i = 0; i < manifest.layers.size(); ++i) {
    const std::string& diff_id = config.diff_ids[i];
    if (!is_digest(diff_id)) return fail(Code::kInvalidArgument, cat("configuration: diff id \"", diff_id.substr(0, 100), "\" is not a sha256 digest"));
    chain = chain_id(chain, diff_id);
    std::uint64_t bytes = 0;
    TRY_ASSIGN(std::string key, add_layer(manifest.layers[i], diff_id, chain, out.layers, source, bytes));
    // overlayfs refuses one directory twice; the upper one hides all that the lower one shows.
    std::erase(out.layers, key);
    out.layers.push_back(std::move(key));
    out.size_bytes += bytes;
    out.blobs.push_back(manifest.layers[i].digest);
  }
  blobs_[documents.manifest_digest] = documents.manifest_text;
  blobs_[manifest.config.digest] = documents.config_text;
  return out;
}

Result<StoredImage> Assembler::add_over(const std::optional<StoredImage>& base, const Documents& documents, const std::vector<LayerSource>& above) {
  StoredImage out = base.value_or(StoredImage{});
  out.id = documents.manifest.config.digest;
  out.manifest_digest = documents.manifest_digest;
  out.index_digests.clear();
  out.references.clear();
  TRY_ASSIGN(ImageConfig config, parse_image_config(documents.config_text));
  std::string chain;
  const std::size_t first = config.diff_ids.size() - above.size();
  for (std::size_t i = 0; i < config.diff_ids.size(); ++i) {
    chain = chain_id(chain, config.diff_ids[i]);
    if (i < first) continue;
    const Descriptor& blob = documents.manifest.layers[i];
    std::uint64_t bytes = 0;
    TRY_ASSIGN(std::string key, add_layer(blob, config.diff_ids[i], chain, out.layers, above[i - first], bytes));
    std::erase(out.layers, key);
    out.layers.push_back(std::move(key));
    out.blobs.push_back(blob.digest);
    out.size_bytes += bytes;
  }
  blobs_[documents.manifest_digest] = documents.manifest_text;
  blobs_[out.id] = documents.config_text;
  TRY(publish());
  return out;
}

Result<> Assembler::publish() {
  std::vector<Blob> blobs;
  for (const auto& [digest, text] : blobs_)
    if (!content_.has_blob(digest)) blobs.push_back({digest, text});
  if (staged_.empty() && blobs.empty()) return {};
  return content_.publish(staged_, blobs);
}

}  // namespace monopod::image
