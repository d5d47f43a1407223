#include "registry/document.h"

#include <algorithm>

#include "base/strings.h"
#include "image/digest.h"
#include "image/manifest.h"
#include "registry/limits.h"

namespace monopod::registry {
namespace {

std::unexpected<Error> invalid(std::string why) { return fail(Code::kInvalidArgument, std::move(why)); }

Result<std::string> read_descriptor(const json::Value& value, std::string_view where) {
  std::string_view digest = json::get_string(value, {"digest"});
  if (!image::is_blob_digest(digest)) return invalid(cat(where, ": digest \"", digest.substr(0, 150), "\" is not one of sha256 or sha512"));
  const json::Value* size = json::find(value, {"size"});
  if (size == nullptr || (!size->is_int64() && !size->is_uint64()) || json::get_int(value, {"size"}, -1) < 0) return invalid(cat(where, ": size is missing or no number of bytes"));
  if (json::get_string(value, {"mediaType"}).empty()) return invalid(cat(where, ": mediaType is missing"));
  return std::string(digest);
}

// A layer that its maker keeps to itself (image-spec layer.md, "Non-Distributable Layers"): no registry needs to hold it.
bool is_elsewhere(const json::Value& layer) {
  std::string_view type = json::get_string(layer, {"mediaType"});
  return type.find(".nondistributable.") != std::string_view::npos || type.find(".foreign.") != std::string_view::npos;
}

Result<> read_list(const json::Value& root, std::string_view name, std::vector<std::string>& out, bool layers) {
  const json::Value* list = json::find(root, {name});
  if (list == nullptr || list->is_null()) return {};
  const json::Array* items = list->if_array();
  if (items == nullptr) return invalid(cat(name, ": not a list"));
  if (items->size() > kReferencesMax) return invalid(cat(name, ": more than ", kReferencesMax, " entries"));
  for (std::size_t i = 0; i < items->size(); ++i) {
    TRY_ASSIGN(std::string digest, read_descriptor((*items)[i], cat(name, "[", i, "]")));
    if (!layers || !is_elsewhere((*items)[i])) out.push_back(std::move(digest));
  }
  return {};
}

}  // namespace

Result<Document> parse_document(std::string_view text, std::string_view content_type) {
  Document out;
  TRY_ASSIGN(json::Value root, json::parse(text));
  if (!root.is_object()) return invalid("not a JSON object");
  if (json::get_int(root, {"schemaVersion"}) != 2) return invalid("schemaVersion is not 2");
  std::string_view given = trim(split_once(content_type, ';').first), own = json::get_string(root, {"mediaType"});
  if (!given.empty() && !own.empty() && given != own) return invalid(cat("mediaType \"", own.substr(0, 200), "\" is not the request's \"", given.substr(0, 200), "\""));
  out.media_type = std::string(own.empty() ? given : own);
  bool index = out.media_type == image::kOciIndex || out.media_type == image::kDockerIndex;
  if (!index && out.media_type != image::kOciManifest && out.media_type != image::kDockerManifest)
    return invalid(out.media_type.empty() ? "neither the request nor the document has a media type" : cat("media type \"", out.media_type.substr(0, 200), "\" is not one of a manifest or index"));
  const json::Object& object = root.get_object();
  if (index && (object.contains("config") || object.contains("layers"))) return invalid("an index with config or layers");
  if (!index && object.contains("manifests")) return invalid("an image with manifests");

  out.artifact_type = std::string(json::get_string(root, {"artifactType"}));
  if (index) {
    if (json::get_array(root, {"manifests"}) == nullptr) return invalid("manifests is missing");
    TRY(read_list(root, "manifests", out.children, false));
  } else {
    const json::Value* config = json::find(root, {"config"});
    if (config == nullptr) return invalid("config is missing");
    TRY_ASSIGN(std::string digest, read_descriptor(*config, "config"));
    out.blobs.push_back(std::move(digest));
    TRY(read_list(root, "layers", out.blobs, true));
    if (out.artifact_type.empty()) out.artifact_type = std::string(json::get_string(*config, {"mediaType"}));
  }
  if (const json::Value* subject = json::find(root, {"subject"}); subject != nullptr && !subject->is_null()) {
    TRY_ASSIGN(out.subject, read_descriptor(*subject, "subject"));
  }
  if (const json::Object* annotations = json::get_object(root, {"annotations"})) out.annotations = *annotations;
  return out;
}

}  // namespace monopod::registry
