#include "image/diff.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/strings.h"
#include "codec/compress.h"
#include "image/config.h"
#include "image/digest.h"
#include "image/manifest.h"
#include "image/replay_source.h"

namespace monopod::image {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

// "./a//b/" is "a/b"; the root is empty.
std::string plain_path(std::string_view name) {
  std::string out;
  for (std::string_view part : split(name, '/'))
    if (!part.empty() && part != ".") out += cat(out.empty() ? "" : "/", part);
  return out;
}

std::pair<std::string_view, std::string_view> split_leaf(std::string_view path) {
  std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::pair(std::string_view(), path) : std::pair(path.substr(0, slash), path.substr(slash + 1));
}

std::string xattrs_digest(const std::map<std::string, std::string>& xattrs) {
  if (xattrs.empty()) return {};
  Hash hash;
  for (const auto& [name, value] : xattrs) hash.update(as_bytes(cat(name, std::string_view("\0", 1), value.size(), ":", value)));
  return hash.finish();
}

// All below a directory, not itself.
void erase_below(Tree& tree, std::string_view directory) {
  if (directory.empty()) return tree.clear();
  const std::string prefix = cat(directory, "/");
  auto at = tree.lower_bound(prefix);
  while (at != tree.end() && at->first.starts_with(prefix)) at = tree.erase(at);
}

// A file's bytes as they lie in the archive: of a sparse one with the places where they belong.
Result<std::string> digest_data(TarReader& tar, const TarEntry& entry) {
  Hash hash;
  if (entry.sparse)
    for (const TarEntry::Extent& extent : entry.extents) hash.update(as_bytes(cat(extent.offset, "+", extent.bytes, ";")));
  std::array<std::byte, 64U << 10> buffer;
  for (;;) {
    TRY_ASSIGN(std::size_t n, tar.read(buffer));
    if (n == 0) return hash.finish();
    hash.update(std::span(buffer).first(n));
  }
}

Result<Listing> list_entries(codec::ByteSource& plain, const Limits& limits) {
  Listing out;
  TarReader tar(plain);
  TarEntry entry;
  for (;;) {
    TRY_ASSIGN(bool more, tar.next(entry));
    if (!more) return out;
    if (out.entries.size() >= limits.layer_entries_max) return fail(Code::kResourceExhausted, cat("layer: more than ", limits.layer_entries_max, " entries"));
    FileState state{.type = entry.type, .mode = entry.mode, .uid = entry.uid, .gid = entry.gid, .bytes = 0, .content = {}, .xattrs = xattrs_digest(entry.xattrs)};
    switch (entry.type) {
      case TarEntry::Type::kFile: {
        state.bytes = entry.size;
        TRY_ASSIGN(state.content, digest_data(tar, entry));
        break;
      }
      case TarEntry::Type::kHardLink: state.content = plain_path(entry.link); break;
      case TarEntry::Type::kSymlink:
        state.content = entry.link;
        state.mode = 0;  // means nothing
        break;
      case TarEntry::Type::kCharDevice:
      case TarEntry::Type::kBlockDevice: state.content = cat(entry.device_major, ":", entry.device_minor); break;
      default: break;
    }
    out.entries.emplace_back(plain_path(entry.name), std::move(state));
  }
}

std::vector<std::string_view> differences(const FileState& a, const FileState& b) {
  if (a.type != b.type) return {"type"};
  std::vector<std::string_view> out;
  if (a.content != b.content || a.bytes != b.bytes) out.emplace_back("content");
  if (a.mode != b.mode) out.emplace_back("mode");
  if (a.uid != b.uid || a.gid != b.gid) out.emplace_back("owner");
  if (a.xattrs != b.xattrs) out.emplace_back("attributes");
  return out;
}

class ArchiveReader {
 public:
  ArchiveReader(codec::ByteSource& archive, const Limits& limits) : tar_(archive), limits_(limits) {}

  Result<SavedImages> run() {
    TarEntry entry;
    for (;;) {
      TRY_ASSIGN(bool more, tar_.next(entry));
      if (!more) break;
      std::string name = plain_path(entry.name);
      if (entry.type != TarEntry::Type::kFile) continue;
      if (name == "index.json") {
        Source source(tar_);
        TRY_ASSIGN(index_, codec::read_all(source, limits_.document_bytes_max));
      } else if (std::string digest = cat("sha256:", split_leaf(name).second); name.starts_with("blobs/sha256/") && is_digest(digest)) {
        TRY(read_blob(digest));
      }
    }
    TRY_ASSIGN(auto parsed, parse_manifest(index_, kOciIndex, limits_));
    const auto* index = std::get_if<Index>(&parsed);
    if (index == nullptr) return fail(Code::kInvalidArgument, "index.json: not an index");
    for (const Descriptor& manifest : index->manifests) TRY(add_image(manifest));
    return std::move(out_);
  }

 private:
  struct Source final : codec::ByteSource {
    explicit Source(TarReader& reader) : tar(reader) {}
    Result<std::size_t> read(std::span<std::byte> into) override { return tar.read(into); }
    TarReader& tar;
  };

  // Which blobs are documents is known at the archive's end only: they begin with a brace, and are no tar, as a layer whose first name begins so is.
  Result<> read_blob(const std::string& digest) {
    Source source(tar_);
    HashingSource hashed(source);
    std::array<std::byte, kTarBlock> first;
    TRY_ASSIGN(std::size_t n, codec::read_full(hashed, first));
    std::string_view head = as_text(std::span(first).first(n));
    ReplaySource whole(std::span(first).first(n), hashed);
    if (head.starts_with('{') && !(n == kTarBlock && head.substr(257, 5) == "ustar")) {
      TRY_ASSIGN(documents_[digest], codec::read_all(whole, limits_.document_bytes_max));
    } else {
      TRY_ASSIGN(out_.listings[digest], read_listing(whole, limits_));
    }
    if (hashed.finish() != digest) return fail(Code::kDataLoss, cat("blob ", digest, ": content does not match the digest"));
    return {};
  }

  Result<const std::string*> document(const std::string& digest) const {
    auto found = documents_.find(digest);
    if (found == documents_.end()) return fail(Code::kDataLoss, cat("the archive lacks ", digest));
    return &found->second;
  }

  Result<> add_image(const Descriptor& descriptor, std::size_t depth = 0) {
    TRY_ASSIGN(const std::string* text, document(descriptor.digest));
    TRY_ASSIGN(auto parsed, parse_manifest(*text, descriptor.media_type, limits_));
    if (const auto* index = std::get_if<Index>(&parsed)) {  // of several platforms: this machine's
      std::optional<Descriptor> best = choose_platform(*index, host_platform());
      if (!best && !index->manifests.empty()) best = index->manifests.front();
      if (!best || depth >= limits_.index_depth_max) return fail(Code::kInvalidArgument, cat("manifest ", descriptor.digest, ": an index of no images"));
      return add_image(*best, depth + 1);
    }
    const auto* manifest = &std::get<Manifest>(parsed);
    TRY_ASSIGN(const std::string* config_text, document(manifest->config.digest));
    TRY_ASSIGN(ImageConfig config, parse_image_config(*config_text));
    if (config.diff_ids.size() != manifest->layers.size()) return fail(Code::kInvalidArgument, cat("image ", manifest->config.digest, ": as many layers as diff ids are wanted"));
    SavedImage image{.id = manifest->config.digest, .layers = {}};
    for (std::size_t i = 0; i < config.diff_ids.size(); ++i) {
      auto listing = out_.listings.find(manifest->layers[i].digest);
      if (listing == out_.listings.end()) return fail(Code::kDataLoss, cat("the archive lacks ", manifest->layers[i].digest));
      image.layers.push_back({.diff_id = config.diff_ids[i], .created_by = {}, .blob_bytes = manifest->layers[i].size, .listing = &listing->second});
    }
    TRY_ASSIGN(json::Value document, json::parse(*config_text));
    name_steps(document, image);
    out_.images.push_back(std::move(image));
    return {};
  }

  static void name_steps(const json::Value& config, SavedImage& image) {
    const json::Array* steps = json::get_array(config, {"history"});
    if (steps == nullptr) return;
    std::vector<std::string> made;
    for (const json::Value& step : *steps)
      if (!json::get_bool(step, {"empty_layer"})) made.emplace_back(json::get_string(step, {"created_by"}));
    if (made.size() != image.layers.size()) return;
    for (std::size_t i = 0; i < made.size(); ++i) image.layers[i].created_by = std::move(made[i]);
  }

  TarReader tar_;
  const Limits& limits_;
  SavedImages out_;
  std::map<std::string, std::string> documents_;
  std::string index_;
};

}  // namespace

Result<Listing> read_listing(codec::ByteSource& raw, const Limits& limits) {
  std::array<std::byte, 4> head;
  TRY_ASSIGN(std::size_t n, codec::read_full(raw, head));
  ReplaySource whole(std::span(head).first(n), raw);
  auto plain = codec::make_decompressor(codec::detect_compression(std::span(head).first(n)), whole,
                                        {.bytes_max = limits.layer_bytes_max + (1ULL << 30), .ratio_max = limits.compression_ratio_max, .ratio_floor_bytes = limits.compression_floor_bytes});
  TRY_ASSIGN(Listing out, list_entries(*plain, limits));
  for (std::array<std::byte, 4096> rest;;) {
    TRY_ASSIGN(std::size_t more, raw.read(rest));
    if (more == 0) return out;
  }
}

// Whiteouts hide what lies below the layer, wherever in the layer they stand: they come first.
void apply_listing(const Listing& listing, Tree& tree) {
  for (const auto& [path, state] : listing.entries) {
    auto [directory, leaf] = split_leaf(path);
    if (leaf == kOpaque) {
      erase_below(tree, directory);
    } else if (leaf.starts_with(kWhiteout)) {
      std::string hidden = cat(directory, directory.empty() ? "" : "/", leaf.substr(kWhiteout.size()));
      tree.erase(hidden);
      erase_below(tree, hidden);
    }
  }
  for (const auto& [path, state] : listing.entries) {
    if (path.empty() || split_leaf(path).second.starts_with(kWhiteout)) continue;
    FileState made = state;
    if (state.type == TarEntry::Type::kHardLink) {
      auto target = tree.find(state.content);
      if (target == tree.end()) continue;  // an import would have refused it
      made = target->second;
    }
    if (made.type != TarEntry::Type::kDirectory) erase_below(tree, path);
    tree.insert_or_assign(path, std::move(made));
  }
}

std::vector<Change> compare_trees(const Tree& before, const Tree& after) {
  std::vector<Change> out;
  auto a = before.begin(), b = after.begin();
  while (a != before.end() || b != after.end()) {
    if (b == after.end() || (a != before.end() && a->first < b->first)) {
      out.push_back({.kind = Change::Kind::kRemoved, .path = a->first, .bytes_before = a->second.bytes, .bytes_after = 0, .what = {}});
      ++a;
    } else if (a == before.end() || b->first < a->first) {
      out.push_back({.kind = Change::Kind::kAdded, .path = b->first, .bytes_before = 0, .bytes_after = b->second.bytes, .what = {}});
      ++b;
    } else {
      if (auto what = differences(a->second, b->second); !what.empty()) out.push_back({.kind = Change::Kind::kChanged, .path = a->first, .bytes_before = a->second.bytes, .bytes_after = b->second.bytes, .what = std::move(what)});
      ++a;
      ++b;
    }
  }
  return out;
}

Result<SavedImages> read_saved_images(codec::ByteSource& archive, const Limits& limits) { return ArchiveReader(archive, limits).run(); }

}  // namespace monopod::image
