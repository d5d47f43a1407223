#include "image/commit.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "codec/compress.h"
#include "codec/json.h"
#include "image/blob_reader.h"
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

// What a layer that is here already is taken from, should it have to be unpacked at another place of a chain.
struct Taken {
  Descriptor descriptor;
  BlobName name;
};

struct Opened {
  Manifest manifest;
  std::vector<std::string> diff_ids;
};

Result<Opened> open_image(const Content& content, const Limits& limits, const StoredImage& image) {
  TRY_ASSIGN(std::string text, content.read_blob(image.manifest_digest, limits.document_bytes_max));
  TRY_ASSIGN(json::Value root, json::parse(text));
  TRY_ASSIGN(auto parsed, parse_manifest(text, json::get_string(root, {"mediaType"}, kOciManifest), limits));
  auto* manifest = std::get_if<Manifest>(&parsed);
  if (manifest == nullptr) return fail(Code::kDataLoss, "the image's manifest is an index");
  for (Descriptor& layer : manifest->layers) layer.media_type = oci_type(layer.media_type);
  TRY_ASSIGN(std::string config_text, content.read_blob(image.id, limits.document_bytes_max));
  TRY_ASSIGN(ImageConfig config, parse_image_config(config_text));
  return Opened{.manifest = std::move(*manifest), .diff_ids = std::move(config.diff_ids)};
}

Result<Taken> find_layer_of(const Content& content, const Limits& limits, const StoredImage& image, const std::string& diff_id) {
  TRY_ASSIGN(Opened opened, open_image(content, limits, image));
  std::string chain;
  for (std::size_t i = 0; i < std::min(opened.diff_ids.size(), opened.manifest.layers.size()); ++i) {
    chain = chain_id(chain, opened.diff_ids[i]);
    if (opened.diff_ids[i] == diff_id) return Taken{.descriptor = opened.manifest.layers[i], .name = {.digest = opened.manifest.layers[i].digest, .diff_id = diff_id, .chain = chain}};
  }
  return fail(Code::kNotFound, cat("image ", image.id, " has no layer ", diff_id));
}

}  // namespace

Result<StoredImage> commit_image(const Content& content, const Limits& limits, const std::optional<StoredImage>& base, const std::vector<StoredImage>& sources, const CommitOptions& options, const std::atomic<bool>& stop) {
  Assembler::Documents documents;
  std::vector<std::string> diff_ids;
  if (base) {
    TRY_ASSIGN(Opened opened, open_image(content, limits, *base));
    documents.manifest.layers = std::move(opened.manifest.layers);
    diff_ids = std::move(opened.diff_ids);
  }
  std::vector<Taken> taken;
  for (std::size_t i = 0; i < options.layers.size(); ++i) {
    TRY_ASSIGN(Taken one, find_layer_of(content, limits, sources.at(i), options.layers[i].diff_id));
    documents.manifest.layers.push_back(one.descriptor);
    diff_ids.push_back(options.layers[i].diff_id);
    taken.push_back(std::move(one));
  }
  std::optional<StagedLayer> layer;
  if (!options.changes.empty()) {
    TRY_ASSIGN(sys::Root changes, sys::Root::open(options.changes));
    TRY_ASSIGN(std::unique_ptr<Staged> packed, content.make_staging());
    TRY_ASSIGN(sys::Fd file, content.root().open_no_symlinks(packed->path() + "/layer", O_RDWR | O_CREAT | O_EXCL, 0600));
    FdSink sink(file.get());
    auto gzip = codec::make_compressor(codec::Compression::kGzip, sink, {.level = 1});
    TRY(pack_layer(changes, *gzip, {.mtime_max_seconds = options.mtime_max_seconds, .undescribed = options.undescribed}, stop));
    TRY(gzip->finish());
    if (::lseek(file.get(), 0, SEEK_SET) < 0) return fail_errno("rewind packed layer");
    FdSource source(file.get());
    TRY_ASSIGN(layer, stage_layer(content, source, limits, stop));
    documents.manifest.layers.push_back({.media_type = cat(kOciLayer, "+gzip"), .digest = layer->meta.digest, .size = layer->meta.blob_bytes, .platform = {}, .annotations = {}});
    diff_ids.push_back(layer->meta.diff_id);
  }
  if (documents.manifest.layers.size() > limits.layers_max) return fail(Code::kResourceExhausted, cat("more than ", limits.layers_max, " layers"));
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
  std::vector<Assembler::LayerSource> above;
  for (const Taken& one : taken)
    above.emplace_back([&content, &limits, &stop, &one](const Descriptor&) -> Result<StagedLayer> {
      TRY_ASSIGN(std::unique_ptr<BlobReader> reader, BlobReader::open(content, one.name));
      return stage_layer(content, reader->source(), limits, stop);
    });
  if (layer) above.emplace_back([&layer](const Descriptor&) -> Result<StagedLayer> { return std::move(*layer); });
  Assembler assembler(content, limits);
  return assembler.add_over(base, documents, above);
}

}  // namespace monopod::image
