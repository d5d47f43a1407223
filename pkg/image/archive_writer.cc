#include "image/archive_writer.h"

#include <map>

#include "base/strings.h"
#include "codec/compress.h"
#include "codec/json.h"
#include "image/blob_reader.h"
#include "image/config.h"
#include "image/digest.h"
#include "image/fd_streams.h"
#include "image/manifest.h"
#include "image/platforms.h"
#include "image/reference.h"
#include "image/tar.h"

namespace monopod::image {
namespace {

constexpr int kBundleLevel = 9;
constexpr int kBundleWindowLog = 27;  // what load takes

std::string path_of(std::string_view digest) { return cat("blobs/sha256/", digest_hex(digest)); }

Result<> put(TarWriter& tar, std::string name, std::string_view bytes) {
  TarEntry entry;
  entry.name = std::move(name);
  entry.mode = 0644;
  entry.size = entry.data_bytes = bytes.size();
  TRY(tar.begin(entry));
  return tar.write(as_bytes(bytes));
}

// name: its digest in the archive.
Result<> put_blob(TarWriter& tar, const Content& content, const BlobName& blob, const std::string& name, std::uint64_t size, bool plain) {
  TRY_ASSIGN(auto reader, BlobReader::open(content, blob, plain));
  TarEntry entry;
  entry.name = path_of(name);
  entry.mode = 0644;
  entry.size = entry.data_bytes = size;
  TRY(tar.begin(entry));
  std::vector<std::byte> buffer(256U << 10);
  for (std::uint64_t rest = size; rest > 0;) {
    TRY_ASSIGN(std::size_t n, reader->source().read(std::span(buffer).first(static_cast<std::size_t>(std::min<std::uint64_t>(rest, buffer.size())))));
    if (n == 0) return fail(Code::kDataLoss, cat("blob ", blob.digest, " ended early"));
    TRY(tar.write(std::span(buffer).first(n)));
    rest -= n;
  }
  return {};
}

// What an archive holds, in the order in which it was named first.
class Archive {
 public:
  Archive(const Content& content, const Limits& limits, SaveForm form) : content_(content), limits_(limits), plain_(form == SaveForm::kBundle) {}

  Result<> add(const ImageToSave& item) {
    TRY_ASSIGN(std::string text, content_.read_blob(item.image.manifest_digest, limits_.document_bytes_max));
    TRY_ASSIGN(json::Value root, json::parse(text));
    std::string media_type(json::get_string(root, {"mediaType"}, kOciManifest)), digest = item.image.manifest_digest;
    TRY_ASSIGN(auto parsed, parse_manifest(text, media_type, limits_));
    auto* manifest = std::get_if<Manifest>(&parsed);
    if (manifest == nullptr) return fail(Code::kDataLoss, cat("manifest ", digest, " is an index"));
    TRY_ASSIGN(std::string config_text, content_.read_blob(item.image.id, limits_.document_bytes_max));
    json::Array layers, tags;
    TRY_ASSIGN(ImageConfig config, parse_image_config(config_text));
    const std::vector<BlobName> names = layer_names(*manifest, config);
    if (plain_) {
      for (std::size_t i = 0; i < names.size(); ++i) {
        Descriptor& layer = manifest->layers[i];
        layer.digest = names[i].diff_id;
        TRY_ASSIGN(layer.size, add_layer(names[i], layer.digest));
        layer.media_type = kOciLayer;
      }
      text = format_manifest(*manifest);
      digest = digest_of(text);
      media_type = kOciManifest;
    } else {
      for (const BlobName& layer : names) TRY(add_layer(layer, layer.digest));
    }
    for (const Descriptor& layer : manifest->layers) layers.emplace_back(path_of(layer.digest));
    documents_[digest] = text;
    documents_[item.image.id] = config_text;
    manifests_of_indexes_[item.image.manifest_digest] = {.media_type = media_type, .digest = digest, .size = text.size()};
    for (std::size_t i = 0; i < std::max<std::size_t>(item.references.size(), item.by_index ? 0 : 1); ++i) {
      if (item.by_index) {
        tags.emplace_back(item.references[i]);
        continue;
      }
      json::Object entry;
      entry["mediaType"] = media_type;
      entry["digest"] = digest;
      entry["size"] = text.size();
      if (i < item.references.size()) {
        TRY_ASSIGN(entry["annotations"], name_annotations(item.references[i]));
        tags.emplace_back(item.references[i]);
      }
      manifests_.emplace_back(std::move(entry));
    }
    if (item.by_index && item.references.empty()) return {};  // docker's old form has one image for a name
    json::Object old;
    old["Config"] = path_of(item.image.id);
    old["RepoTags"] = std::move(tags);
    old["Layers"] = std::move(layers);
    docker_.emplace_back(std::move(old));
    return {};
  }

  // After its images.
  Result<> add(const IndexToSave& item) {
    TRY_ASSIGN(std::string text, replace_manifests(item.document, manifests_of_indexes_));
    json::Object entry{{"mediaType", kOciIndex}, {"digest", digest_of(text)}, {"size", text.size()}};
    TRY_ASSIGN(entry["annotations"], name_annotations(item.reference));
    manifests_.emplace_back(std::move(entry));
    documents_[digest_of(text)] = std::move(text);
    return {};
  }

  Result<> write(codec::ByteSink& output) {
    json::Object index;
    index["schemaVersion"] = 2;
    index["mediaType"] = kOciIndex;
    index["manifests"] = std::move(manifests_);
    TarWriter tar(output);
    TRY(put(tar, "oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
    TRY(put(tar, "index.json", json::format(std::move(index))));
    TRY(put(tar, "manifest.json", json::format(std::move(docker_))));
    for (const auto& [digest, text] : documents_) TRY(put(tar, path_of(digest), text));
    for (const Layer& layer : layers_) TRY(put_blob(tar, content_, layer.came, layer.name, layer.size, plain_));
    return tar.finish();
  }

 private:
  struct Layer {
    BlobName came;
    std::string name;
    std::uint64_t size;
  };
  static Result<json::Object> name_annotations(const std::string& name) {
    TRY_ASSIGN(Reference reference, parse_reference(name));
    return json::Object{{"io.containerd.image.name", name}, {"org.opencontainers.image.ref.name", reference.tag}};
  }
  // Its size in the archive; a tar says it before the content, so what is compressed is read twice.
  Result<std::uint64_t> add_layer(const BlobName& came, const std::string& name) {
    for (const Layer& layer : layers_)
      if (layer.name == name) return layer.size;
    TRY_ASSIGN(auto reader, BlobReader::open(content_, came, plain_));
    TRY_ASSIGN(std::uint64_t size, reader->source().skip(UINT64_MAX));
    layers_.push_back({came, name, size});
    return size;
  }

  const Content& content_;
  const Limits& limits_;
  const bool plain_;
  json::Array manifests_, docker_;
  std::map<std::string, std::string> documents_;
  std::map<std::string, Replaced> manifests_of_indexes_;  // by the digest that they have in the store
  std::vector<Layer> layers_;
};

}  // namespace

Result<> save_archive(const Content& content, const Limits& limits, const std::vector<ImageToSave>& images, const std::vector<IndexToSave>& indexes, SaveForm form, int fd) {
  Archive archive(content, limits, form);
  for (const ImageToSave& item : images) TRY(archive.add(item));
  for (const IndexToSave& item : indexes) TRY(archive.add(item));
  FdSink output(fd);
  if (form == SaveForm::kAsItCame) return archive.write(output);
  auto zstd = codec::make_compressor(codec::Compression::kZstd, output, {.level = kBundleLevel, .window_log = kBundleWindowLog});
  TRY(archive.write(*zstd));
  return zstd->finish();
}

}  // namespace monopod::image
