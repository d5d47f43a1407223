#include "image/recover.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "image/digest.h"

namespace monopod::image {
namespace {

// A whole image: its documents match their digests, its layers are there.
Result<ImageConfig> validate(const Content& content, const Limits& limits, const std::string& key, const ImageRecord& record) {
  if (key != record.stored.id) return fail(Code::kDataLoss, "record does not match its key");
  TRY_ASSIGN(std::string manifest, content.read_blob(record.stored.manifest_digest, limits.document_bytes_max));
  TRY_ASSIGN(std::string text, content.read_blob(record.stored.id, limits.document_bytes_max));
  TRY_ASSIGN(ImageConfig config, parse_image_config(text));
  for (const std::string& layer : record.stored.layers)
    if (!content.find_layer(layer)) return fail(Code::kDataLoss, cat("layer ", layer, " is missing or damaged"));
  return config;
}

}  // namespace

StoreState recover(const Content& content, const Limits& limits, const std::vector<std::pair<std::string, std::string>>& records,
                   std::vector<std::string>& dropped) {
  StoreState out;
  auto drop = [&dropped](const std::string& key, const Error& error) {
    log::warn("image record dropped", {{"record", key}, {"error", error}});
    dropped.push_back(key);
  };
  auto each = [&records](std::string_view kind, auto visit) {
    for (const auto& [key, text] : records)
      if (key.starts_with(kind)) visit(key, key.substr(kind.size()), text);
  };
  each("image/", [&](const std::string& key, const std::string& id, const std::string& text) {
    auto record = parse_image_record(text);
    if (!record) return drop(key, record.error());
    auto config = validate(content, limits, id, *record);
    if (!config) return drop(key, config.error());
    out.configs.emplace(id, *std::move(config));
    out.images.emplace(id, *std::move(record));
  });
  each("ref/", [&](const std::string& key, const std::string& reference, const std::string& id) {
    if (out.images.contains(id)) out.references.emplace(reference, id);
    else drop(key, Error(Code::kNotFound, cat("image ", id.substr(0, 100), " is gone")));
  });
  each("index/", [&](const std::string& key, const std::string& reference, const std::string& text) {
    auto record = parse_index_record(text);
    if (!record) return drop(key, record.error());
    auto named = out.references.find(reference);
    if (named == out.references.end() || std::ranges::find(record->images, named->second) == record->images.end()) return drop(key, Error(Code::kNotFound, "the name is another image's"));
    for (const std::string& id : record->images)
      if (!out.images.contains(id)) return drop(key, Error(Code::kNotFound, cat("image ", id.substr(0, 100), " is gone")));
    out.indexes.emplace(reference, *std::move(record));
  });
  each("snapshot/", [&](const std::string& key, const std::string& id, const std::string& text) {
    auto record = parse_snapshot_record(text);
    if (!record) return drop(key, record.error());
    if (!out.images.contains(record->image_id)) return drop(key, Error(Code::kNotFound, cat("image ", record->image_id, " is gone")));
    if (!content.root().open_file(Content::snapshot_entry(id) + "/fs", O_PATH | O_DIRECTORY | O_NOFOLLOW))
      return drop(key, Error(Code::kNotFound, "its directory is gone"));
    out.snapshots.emplace(id, *std::move(record));
  });
  each("dropin/", [&](const std::string& key, const std::string& name, const std::string& text) {
    auto record = parse_drop_in_record(text);
    if (!record) return drop(key, record.error());
    out.drop_ins.emplace(name, *std::move(record));
  });
  return out;
}

Referenced referenced_by(const StoreState& state) {
  Referenced out;
  for (const auto& [id, record] : state.images) {
    out.layers.insert(record.stored.layers.begin(), record.stored.layers.end());
    out.blobs.insert(record.stored.blobs.begin(), record.stored.blobs.end());
    out.blobs.insert(id);
    out.blobs.insert(record.stored.manifest_digest);
  }
  for (const auto& [id, record] : state.snapshots) out.layers.insert(record.layers.begin(), record.layers.end());
  return out;
}

Result<std::uint64_t> sweep_content(const Content& content, const Referenced& referenced) {
  std::uint64_t freed = 0;
  for (const std::string& key : content.list_layers()) {
    if (referenced.layers.contains(key)) continue;
    if (auto meta = content.find_layer(key)) freed += meta->disk_bytes;
    TRY(content.remove(Content::layer_entry(key)));
  }
  for (const std::string& digest : content.list_blobs()) {
    if (referenced.blobs.contains(digest)) continue;
    if (auto st = content.root().lstat(Content::blob_entry(digest))) freed += static_cast<std::uint64_t>(st->st_size);
    TRY(content.root().remove_file(Content::blob_entry(digest)));
  }
  return freed;
}

Result<std::uint64_t> tree_bytes(const sys::Root& root, const std::string& path) {
  TRY_ASSIGN(auto entries, root.read_directory(path));
  std::uint64_t bytes = 0;
  for (const sys::DirEntry& entry : entries) {
    std::string below = cat(path, "/", entry.name);
    auto st = root.lstat(below);
    if (!st) continue;  // removed meanwhile
    bytes += static_cast<std::uint64_t>(st->st_blocks) * 512;
    if (!S_ISDIR(st->st_mode)) continue;
    auto inner = tree_bytes(root, below);
    if (inner) bytes += *inner;
    else if (inner.error().code() != Code::kNotFound) return inner;
  }
  return bytes;
}

}  // namespace monopod::image
