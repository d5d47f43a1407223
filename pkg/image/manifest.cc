#include "image/manifest.h"

#include "base/strings.h"
#include "image/digest.h"

namespace monopod::image {
namespace {

using json::Value;

bool is_layer_type(std::string_view type) {
  static constexpr std::string_view kTypes[] = {
      "application/vnd.oci.image.layer.v1.tar",
      "application/vnd.oci.image.layer.v1.tar+gzip",
      "application/vnd.oci.image.layer.v1.tar+zstd",
      "application/vnd.docker.image.rootfs.diff.tar",
      "application/vnd.docker.image.rootfs.diff.tar.gzip",
      "application/vnd.docker.image.rootfs.diff.tar.zstd",
  };
  for (std::string_view known : kTypes)
    if (type == known) return true;
  return false;
}

Result<Descriptor> read_descriptor(const Value& v, std::string_view what) {
  Descriptor out;
  if (!v.is_object()) return fail(Code::kInvalidArgument, cat(what, ": want an object"));
  out.media_type = json::get_string(v, {"mediaType"});
  out.digest = json::get_string(v, {"digest"});
  if (!is_digest(out.digest)) return fail(Code::kInvalidArgument, cat(what, ": digest \"", out.digest.substr(0, 100), "\" is not sha256:<64 hex digits>"));
  const Value* size = json::find(v, {"size"});
  if (size == nullptr || !size->is_int64() || size->get_int64() < 0) return fail(Code::kInvalidArgument, cat(what, ": bad size"));
  out.size = static_cast<std::uint64_t>(size->get_int64());
  if (json::get_object(v, {"platform"}) != nullptr)
    out.platform = Platform{std::string(json::get_string(v, {"platform", "os"})), std::string(json::get_string(v, {"platform", "architecture"})),
                            std::string(json::get_string(v, {"platform", "variant"}))};
  if (const auto* annotations = json::get_object(v, {"annotations"}))
    for (const auto& item : *annotations)
      if (item.value().is_string()) out.annotations.emplace(item.key(), item.value().get_string());
  return out;
}

Result<Manifest> read_manifest(const Value& root, const Limits& limits) {
  Manifest out;
  const Value* config = json::find(root, {"config"});
  if (config == nullptr) return fail(Code::kInvalidArgument, "manifest: config is missing");
  TRY_ASSIGN(out.config, read_descriptor(*config, "manifest: config"));
  if (out.config.media_type != kOciConfig && out.config.media_type != kDockerConfig)
    return fail(Code::kInvalidArgument, cat("manifest: not a container image: config media type \"", out.config.media_type, "\""));
  const auto* layers = json::get_array(root, {"layers"});
  if (layers == nullptr) return fail(Code::kInvalidArgument, "manifest: layers is missing");
  if (layers->size() > limits.layers_max)
    return fail(Code::kInvalidArgument, cat("manifest: ", layers->size(), " layers exceed the limit of ", limits.layers_max));
  for (const Value& item : *layers) {
    TRY_ASSIGN(Descriptor layer, read_descriptor(item, "manifest: layer"));
    if (!is_layer_type(layer.media_type))
      return fail(Code::kInvalidArgument, cat("manifest: layer ", layer.digest, ": unknown media type \"", layer.media_type, "\""));
    out.layers.push_back(std::move(layer));
  }
  return out;
}

Result<Index> read_index(const Value& root, const Limits& limits) {
  Index out;
  const auto* manifests = json::get_array(root, {"manifests"});
  if (manifests == nullptr) return fail(Code::kInvalidArgument, "index: manifests is missing");
  if (manifests->size() > limits.manifests_max)
    return fail(Code::kInvalidArgument, cat("index: ", manifests->size(), " manifests exceed the limit of ", limits.manifests_max));
  for (const Value& item : *manifests) {
    TRY_ASSIGN(Descriptor entry, read_descriptor(item, "index: manifest"));
    out.manifests.push_back(std::move(entry));
  }
  return out;
}

boost::json::object descriptor_json(const Descriptor& d) {
  boost::json::object out;
  out["mediaType"] = d.media_type;
  out["digest"] = d.digest;
  out["size"] = d.size;
  return out;
}

}  // namespace

Result<std::variant<Manifest, Index>> parse_manifest(std::string_view text, std::string_view media_type, const Limits& limits) {
  TRY_ASSIGN(Value root, json::parse(text, {.depth_max = 32, .bytes_max = limits.document_bytes_max}));
  if (!root.is_object()) return fail(Code::kInvalidArgument, "manifest: want an object");
  if (json::get_int(root, {"schemaVersion"}) != 2) return fail(Code::kInvalidArgument, "manifest: schemaVersion is not 2");
  std::string_view own = json::get_string(root, {"mediaType"});
  if (!own.empty() && !media_type.empty() && own != media_type)
    return fail(Code::kInvalidArgument, cat("manifest: media type \"", own, "\" but \"", media_type, "\" was announced"));
  std::string_view type = own.empty() ? media_type : own;
  bool is_manifest = type == kOciManifest || type == kDockerManifest;
  bool is_index = type == kOciIndex || type == kDockerIndex;
  if (!is_manifest && !is_index) return fail(Code::kInvalidArgument, cat("manifest: unknown media type \"", type.substr(0, 200), "\""));
  bool has_index = root.get_object().contains("manifests");
  bool has_manifest = root.get_object().contains("layers") || root.get_object().contains("config") || root.get_object().contains("fsLayers");
  if (has_index && has_manifest) return fail(Code::kInvalidArgument, "manifest: both an index and a manifest");
  if (is_manifest) return read_manifest(root, limits);
  return read_index(root, limits);
}

std::string format_manifest(const Manifest& manifest) {
  boost::json::object root;
  root["schemaVersion"] = 2;
  root["mediaType"] = kOciManifest;
  root["config"] = descriptor_json(manifest.config);
  boost::json::array layers;
  for (const Descriptor& layer : manifest.layers) layers.emplace_back(descriptor_json(layer));
  root["layers"] = std::move(layers);
  return json::format(Value(std::move(root)));
}

std::optional<Descriptor> choose_platform(const Index& index, const Platform& platform) {
  const Descriptor* best = nullptr;
  int best_score = 0;
  for (const Descriptor& entry : index.manifests) {
    int score = 0;
    if (!entry.platform) {
      score = 1;
    } else if (entry.platform->os == platform.os && entry.platform->architecture == platform.architecture) {
      const std::string& variant = entry.platform->variant;
      if (variant == platform.variant) score = 4;
      else if (variant.empty() || platform.variant.empty()) score = 3;
      else if (variant < platform.variant) score = 2;
    }
    if (score > best_score) {
      best = &entry;
      best_score = score;
    }
  }
  if (best == nullptr) return std::nullopt;
  return *best;
}

}  // namespace monopod::image
