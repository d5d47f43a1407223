#include "image/commit.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/strings.h"
#include "codec/compress.h"
#include "codec/json.h"
#include "image/digest.h"
#include "image/fd_streams.h"
#include "image/layer_pack.h"
#include "image/layer_unpacker.h"

namespace monopod::image {
namespace {

// The layer's compression is all that its media type must say.
std::string oci_type(std::string_view type) {
  if (type.ends_with("gzip")) return cat(kOciLayer, "+gzip");
  if (type.ends_with("zstd")) return cat(kOciLayer, "+zstd");
  return std::string(kOciLayer);
}

}  // namespace

Result<StoredImage> commit_image(const Content& content, const Limits& limits, const std::optional<StoredImage>& base, const CommitOptions& options, const std::atomic<bool>& stop) {
  Assembler::Documents documents;
  std::vector<std::string> diff_ids;
  if (base) {
    TRY_ASSIGN(std::string text, content.read_blob(base->manifest_digest, limits.document_bytes_max));
    TRY_ASSIGN(json::Value root, json::parse(text));
    TRY_ASSIGN(auto parsed, parse_manifest(text, json::get_string(root, {"mediaType"}, kOciManifest), limits));
    auto* manifest = std::get_if<Manifest>(&parsed);
    if (manifest == nullptr) return fail(Code::kDataLoss, "the base's manifest is an index");
    documents.manifest.layers = std::move(manifest->layers);
    for (Descriptor& layer : documents.manifest.layers) layer.media_type = oci_type(layer.media_type);
    TRY_ASSIGN(std::string config_text, content.read_blob(base->id, limits.document_bytes_max));
    TRY_ASSIGN(ImageConfig config, parse_image_config(config_text));
    diff_ids = config.diff_ids;
  }
  std::optional<StagedLayer> layer;
  if (!options.changes.empty()) {
    TRY_ASSIGN(sys::Root changes, sys::Root::open(options.changes));
    TRY_ASSIGN(std::unique_ptr<Staged> packed, content.make_staging());
    TRY_ASSIGN(sys::Fd file, content.root().open_no_symlinks(packed->path() + "/layer", O_RDWR | O_CREAT | O_EXCL, 0600));
    FdSink sink(file.get());
    auto gzip = codec::make_compressor(codec::Compression::kGzip, sink, {.level = 1});
    TRY(pack_layer(changes, *gzip, {.mtime_max_seconds = options.mtime_max_seconds}, stop));
    TRY(gzip->finish());
    if (::lseek(file.get(), 0, SEEK_SET) < 0) return fail_errno("rewind packed layer");
    FdSource source(file.get());
    TRY_ASSIGN(layer, stage_layer(content, source, limits, stop));
    documents.manifest.layers.push_back({.media_type = cat(kOciLayer, "+gzip"), .digest = layer->meta.digest, .size = layer->meta.blob_bytes, .platform = {}, .annotations = {}});
    diff_ids.push_back(layer->meta.diff_id);
    if (documents.manifest.layers.size() > limits.layers_max) return fail(Code::kResourceExhausted, cat("more than ", limits.layers_max, " layers"));
  }
  TRY_ASSIGN(json::Value config, json::parse(options.config));
  json::Object rootfs;
  rootfs["type"] = "layers";
  json::Array ids;
  for (const std::string& id : diff_ids) ids.emplace_back(id);
  rootfs["diff_ids"] = std::move(ids);
  json::at_path(config, {"rootfs"}) = std::move(rootfs);
  documents.config_text = json::format(config);
  documents.manifest.config = {.media_type = std::string(kOciConfig), .digest = digest_of(documents.config_text), .size = documents.config_text.size(), .platform = {}, .annotations = {}};
  documents.manifest_text = format_manifest(documents.manifest);
  documents.manifest_digest = digest_of(documents.manifest_text);

  // The base's layers are here, though not all of their blobs need be: they are taken over as they are.
  Assembler assembler(content, limits);
  return assembler.add_over(base, documents, std::move(layer));
}

}  // namespace monopod::image
