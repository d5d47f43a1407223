#include "image/platforms.h"

#include <algorithm>

#include "base/strings.h"
#include "codec/json.h"
#include "image/config.h"
#include "image/digest.h"
#include "image/manifest.h"

namespace monopod::image {

std::string format_record(const IndexRecord& record) {
  json::Array images;
  for (const std::string& id : record.images) images.emplace_back(id);
  return json::format(json::Object{{"document", record.document}, {"images", std::move(images)}});
}

Result<IndexRecord> parse_index_record(std::string_view text) {
  TRY_ASSIGN(json::Value root, json::parse(text));
  IndexRecord out{.document = std::string(json::get_string(root, {"document"})), .digest = {}, .images = {}};
  out.digest = digest_of(out.document);
  if (const json::Array* images = json::get_array(root, {"images"}))
    for (const json::Value& id : *images)
      if (id.is_string()) out.images.emplace_back(id.get_string());
  if (out.document.empty() || out.images.empty()) return fail(Code::kDataLoss, "index record: it names no images");
  return out;
}

Result<IndexRecord> make_index(const Content& content, const Limits& limits, const std::vector<StoredImage>& images) {
  IndexRecord out;
  json::Array manifests;
  std::vector<Platform> seen;
  for (const StoredImage& image : images) {
    TRY_ASSIGN(std::string text, content.read_blob(image.manifest_digest, limits.document_bytes_max));
    TRY_ASSIGN(json::Value root, json::parse(text));
    TRY_ASSIGN(std::string config_text, content.read_blob(image.id, limits.document_bytes_max));
    TRY_ASSIGN(ImageConfig config, parse_image_config(config_text));
    if (std::ranges::find(seen, config.platform) != seen.end()) return fail(Code::kInvalidArgument, cat("two images for ", format_platform(config.platform)));
    seen.push_back(config.platform);
    json::Object platform{{"architecture", config.platform.architecture}, {"os", config.platform.os}};
    if (!config.platform.variant.empty()) platform["variant"] = config.platform.variant;
    manifests.emplace_back(json::Object{{"mediaType", json::get_string(root, {"mediaType"}, kOciManifest)}, {"digest", image.manifest_digest}, {"size", text.size()}, {"platform", std::move(platform)}});
    out.images.push_back(image.id);
  }
  out.document = json::format(json::Object{{"schemaVersion", 2}, {"mediaType", kOciIndex}, {"manifests", std::move(manifests)}});
  out.digest = digest_of(out.document);
  return out;
}

Result<std::string> replace_manifests(const std::string& document, const std::map<std::string, Replaced>& by) {
  TRY_ASSIGN(json::Value root, json::parse(document));
  json::Value* manifests = json::find(root, {"manifests"});
  if (manifests == nullptr || !manifests->is_array()) return fail(Code::kDataLoss, "the index names no manifests");
  for (json::Value& entry : manifests->get_array()) {
    auto found = by.find(std::string(json::get_string(entry, {"digest"})));
    if (found == by.end()) return fail(Code::kDataLoss, cat("the index names ", json::get_string(entry, {"digest"}), ", which is not among its images"));
    json::at_path(entry, {"digest"}) = found->second.digest;
    json::at_path(entry, {"size"}) = found->second.size;
    json::at_path(entry, {"mediaType"}) = found->second.media_type;
  }
  return json::format(root);
}

}  // namespace monopod::image
