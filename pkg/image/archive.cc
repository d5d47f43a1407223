#include "image/archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/log.h"
#include "base/strings.h"
#include "codec/compress.h"
#include "image/digest.h"
#include "image/layer_unpacker.h"
#include "image/reference.h"
#include "image/replay_source.h"
#include "image/tar.h"

namespace monopod::image {
namespace {

constexpr std::size_t kReadBytes = 256U << 10;

// A descriptor, read in big pieces; a regular file by position, so that skipping costs nothing.
class ArchiveSource final : public codec::ByteSource {
 public:
  using Report = std::function<void(std::uint64_t)>;
  ArchiveSource(int fd, bool seekable, std::uint64_t offset, std::uint64_t bytes, const std::atomic<bool>& stop, Report report)
      : fd_(fd), seekable_(seekable), offset_(offset), rest_(bytes), stop_(stop), report_(std::move(report)), buffer_(kReadBytes) {}

  Result<std::size_t> read(std::span<std::byte> into) override {
    if (at_ == end_) TRY(refill());
    std::size_t n = std::min(into.size(), end_ - at_);
    std::memcpy(into.data(), buffer_.data() + at_, n);
    at_ += n;
    return n;
  }
  Result<std::uint64_t> skip(std::uint64_t count) override {
    if (!seekable_) return ByteSource::skip(count);
    std::uint64_t buffered = std::min<std::uint64_t>(count, end_ - at_);
    at_ += static_cast<std::size_t>(buffered);
    std::uint64_t jump = std::min(count - buffered, rest_);
    offset_ += jump;
    rest_ -= jump;
    return buffered + jump;
  }
  std::span<const std::byte> peek() {
    if (at_ == end_ && !refill()) return {};
    return std::span(buffer_).subspan(at_, end_ - at_);
  }

 private:
  Result<> refill() {
    if (stop_.load(std::memory_order_relaxed)) return fail(Code::kCancelled, "import: stopped");
    at_ = end_ = 0;
    std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), rest_));
    while (want > 0) {
      ssize_t n = seekable_ ? ::pread(fd_, buffer_.data(), want, static_cast<off_t>(offset_)) : ::read(fd_, buffer_.data(), want);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno("read archive");
      end_ = static_cast<std::size_t>(n);
      offset_ += end_;
      rest_ -= end_;
      if (report_) report_(offset_);
      break;
    }
    return {};
  }

  int fd_;
  bool seekable_;
  std::uint64_t offset_, rest_;
  const std::atomic<bool>& stop_;
  Report report_;
  std::vector<std::byte> buffer_;
  std::size_t at_ = 0, end_ = 0;
};

// "./blobs//sha256/x" -> "blobs/sha256/x"; names only: nothing is made of them on disk.
std::string entry_name(std::string_view name, std::string_view base = {}) {
  std::vector<std::string> parts;
  auto add = [&parts](std::string_view text) {
    for (std::string_view part : split(text, '/')) {
      if (part.empty() || part == ".") continue;
      if (part == "..") {
        if (!parts.empty()) parts.pop_back();
      } else {
        parts.emplace_back(part);
      }
    }
  };
  add(base);
  add(name);
  return join(parts, "/");
}

struct Place {
  std::uint64_t offset = 0, bytes = 0;
  bool compressed = false;
};

class Reader {
 public:
  Reader(int fd, const Content& content, const Limits& limits, const ArchiveOptions& options, const std::atomic<bool>& stop)
      : fd_(fd), content_(content), limits_(limits), options_(options), stop_(stop), assembler_(content, limits) {}

  Result<std::vector<StoredImage>> run();

 private:
  Result<> scan();
  Result<> take_entry(TarReader& reader, const TarEntry& entry);
  Result<> take_document(TarReader& reader, const TarEntry& entry, std::string name, std::span<const std::byte> head);
  std::string resolve(std::string name) const;
  const std::string* document(const std::string& name) const;
  Result<StagedLayer> layer(const std::string& name);
  Result<std::uint64_t> tar_bytes(const std::string& name);
  Result<std::vector<StoredImage>> read_all(const Descriptor& descriptor);
  Result<std::vector<StoredImage>> read_oci();
  Result<std::vector<StoredImage>> read_docker();
  Result<std::optional<StoredImage>> read_descriptor(const Descriptor& descriptor, std::size_t depth, bool chosen);
  Result<> name_from_docker(std::vector<StoredImage>& images);
  Result<> name(StoredImage& image, std::string_view reference);
  void report(std::uint64_t done, const std::string& step) {
    if (options_.progress) options_.progress(done, total_, step);
  }

  int fd_;
  const Content& content_;
  const Limits& limits_;
  const ArchiveOptions& options_;
  const std::atomic<bool>& stop_;
  Assembler assembler_;
  bool in_place_ = false;  // layers can be read where they stand
  std::uint64_t total_ = 0;
  std::map<std::string, std::string> documents_;
  std::size_t documents_bytes_ = 0;
  std::map<std::string, std::string> links_;
  std::map<std::string, Place> places_;
  std::map<std::string, Result<StagedLayer>> staged_;
};

Result<> Reader::take_document(TarReader& reader, const TarEntry& entry, std::string name, std::span<const std::byte> head) {
  documents_bytes_ += entry.data_bytes;
  if (documents_bytes_ > limits_.documents_bytes_max)
    return fail(Code::kResourceExhausted, cat("archive: documents exceed ", limits_.documents_bytes_max, " bytes"));
  ReplaySource source(head, reader);
  TRY_ASSIGN(std::string text, codec::read_all(source, limits_.document_bytes_max));
  if (text.size() != entry.data_bytes) return fail(Code::kInvalidArgument, cat("archive: ", name, ": truncated"));
  documents_[std::move(name)] = std::move(text);
  return {};
}

Result<> Reader::take_entry(TarReader& reader, const TarEntry& entry) {
  std::string name = entry_name(entry.name);
  if (entry.type == TarEntry::Type::kSymlink || entry.type == TarEntry::Type::kHardLink) {
    std::size_t slash = name.rfind('/');
    bool symlink = entry.type == TarEntry::Type::kSymlink;
    links_[name] = entry_name(entry.link, symlink && slash != std::string::npos ? std::string_view(name).substr(0, slash) : std::string_view());
    return {};
  }
  if (entry.type != TarEntry::Type::kFile || entry.data_bytes == 0 || entry.sparse) return {};
  if (places_.contains(name) || documents_.contains(name) || staged_.contains(name))
    return fail(Code::kInvalidArgument, cat("archive: ", name.substr(0, 200), ": a second entry of this name"));
  std::uint64_t offset = reader.position();
  std::array<std::byte, 4> head;
  std::size_t n = 0;
  while (n < head.size() && n < entry.data_bytes) {
    TRY_ASSIGN(std::size_t got, reader.read(std::span(head).subspan(n)));
    n += got;
  }
  std::span<const std::byte> start = std::span(head).first(n);
  bool json_like = head[0] == std::byte{'{'} || head[0] == std::byte{'['};
  if (json_like && entry.data_bytes <= limits_.document_bytes_max) return take_document(reader, entry, std::move(name), start);
  if (in_place_) {
    places_[name] = {.offset = offset, .bytes = entry.data_bytes, .compressed = codec::detect_compression(start) != codec::Compression::kNone};
    return {};
  }
  if (entry.data_bytes < 32) return {};  // "1.0" of a legacy VERSION file
  report(offset, "unpacking " + name);
  ReplaySource source(start, reader);
  auto staged = stage_layer(content_, source, limits_, stop_);
  // Out of space or stopped ends the import; a blob that is no layer matters only if something names it.
  if (!staged && (staged.error().code() == Code::kCancelled || staged.error().os_errno() != 0)) return fail(std::move(staged).error());
  staged_.emplace(std::move(name), std::move(staged));
  return {};
}

Result<> Reader::scan() {
  struct ::stat st;
  if (::fstat(fd_, &st) != 0) return fail_errno("stat archive");
  bool regular = S_ISREG(st.st_mode);
  total_ = regular ? static_cast<std::uint64_t>(st.st_size) : 0;
  ArchiveSource file(fd_, regular, 0, regular ? total_ : UINT64_MAX, stop_, [this](std::uint64_t done) { report(done, "reading"); });
  codec::Compression compression = codec::detect_compression(file.peek().first(std::min<std::size_t>(4, file.peek().size())));
  in_place_ = regular && compression == codec::Compression::kNone;
  std::unique_ptr<codec::ByteSource> plain;
  codec::ByteSource* input = &file;
  if (compression != codec::Compression::kNone) {
    plain = codec::make_decompressor(compression, file,
                                     {.bytes_max = limits_.import_bytes_max,
                                      .ratio_max = limits_.compression_ratio_max,
                                      .ratio_floor_bytes = limits_.compression_floor_bytes});
    input = plain.get();
  }
  TarReader reader(*input);
  TarEntry entry;
  for (std::size_t entries = 0;; ++entries) {
    if (entries > limits_.archive_entries_max) return fail(Code::kResourceExhausted, cat("archive: more than ", limits_.archive_entries_max, " entries"));
    TRY_ASSIGN(bool more, reader.next(entry));
    if (!more) return {};
    TRY(take_entry(reader, entry));
  }
}

// Through the archive's own links: docker save writes a layer that occurs twice as a symbolic link.
std::string Reader::resolve(std::string name) const {
  for (int hops = 0; hops < 8; ++hops) {
    auto link = links_.find(name);
    if (link == links_.end()) break;
    name = link->second;
  }
  return name;
}

const std::string* Reader::document(const std::string& name) const {
  auto found = documents_.find(resolve(name));
  return found == documents_.end() ? nullptr : &found->second;
}

Result<StagedLayer> Reader::layer(const std::string& name) {
  std::string at = resolve(name);
  if (auto place = places_.find(at); place != places_.end()) {
    ArchiveSource source(fd_, true, place->second.offset, place->second.bytes, stop_, [this, &at](std::uint64_t done) { report(done, "unpacking " + at); });
    return stage_layer(content_, source, limits_, stop_);
  }
  if (auto staged = staged_.find(at); staged != staged_.end()) {
    if (!staged->second) return fail(staged->second.error());
    if (!staged->second->directory) return fail(Code::kUnimplemented, "the layer stands twice in one image; load it from an uncompressed file");
    return std::move(*staged->second);
  }
  return fail(Code::kNotFound, "not in the archive");
}

// Of the plain tar. A compressed one is unpacked for it.
Result<std::uint64_t> Reader::tar_bytes(const std::string& name) {
  std::string at = resolve(name);
  if (auto place = places_.find(at); place != places_.end()) {
    if (!place->second.compressed) return place->second.bytes;
    if (!staged_.contains(at)) staged_.emplace(at, layer(name));
    places_.erase(place);
  }
  auto staged = staged_.find(at);
  return staged != staged_.end() && staged->second ? staged->second->tar_bytes : 0;
}

Result<> Reader::name(StoredImage& image, std::string_view text) {
  TRY_ASSIGN(Reference reference, parse_reference(text));
  if (!reference.digest.empty() && reference.tag.empty()) return {};  // found by digest anyway
  reference.digest.clear();
  std::string canonical = reference.text();
  if (std::ranges::find(image.references, canonical) == image.references.end()) image.references.push_back(std::move(canonical));
  return {};
}

std::string blob_name(std::string_view digest) { return cat("blobs/sha256/", digest_hex(digest)); }

// chosen: by a platform rule of an index above; an entry of index.json for another platform is passed over.
Result<std::optional<StoredImage>> Reader::read_descriptor(const Descriptor& descriptor, std::size_t depth, bool chosen) {
  if (depth > limits_.index_depth_max) return fail(Code::kInvalidArgument, "index: nested too deep");
  if (!chosen && descriptor.platform && !descriptor.platform->architecture.empty() &&
      (descriptor.platform->os != options_.platform.os || descriptor.platform->architecture != options_.platform.architecture))
    return std::nullopt;
  const std::string* text = document(blob_name(descriptor.digest));
  if (text == nullptr) return fail(Code::kNotFound, cat("manifest ", descriptor.digest, ": not in the archive"));
  if (text->size() != descriptor.size || digest_of(*text) != descriptor.digest)
    return fail(Code::kDataLoss, cat("manifest ", descriptor.digest, ": content does not match the digest or size"));
  TRY_ASSIGN(auto parsed, parse_manifest(*text, descriptor.media_type, limits_));
  if (auto* index = std::get_if<Index>(&parsed)) {
    std::optional<Descriptor> best = choose_platform(*index, options_.platform);
    if (!best) return std::nullopt;
    TRY_ASSIGN(std::optional<StoredImage> image, read_descriptor(*best, depth + 1, true));
    if (image) image->index_digests.push_back(descriptor.digest);
    return image;
  }
  auto& manifest = std::get<Manifest>(parsed);
  const std::string* config = document(blob_name(manifest.config.digest));
  if (config == nullptr) return fail(Code::kNotFound, cat("configuration ", manifest.config.digest, ": not in the archive"));
  auto source = [this](const Descriptor& blob) -> Result<StagedLayer> {
    auto found = layer(blob_name(blob.digest));
    if (!found) return fail(std::move(found).error().with(cat("layer ", blob.digest)));
    return found;
  };
  TRY_ASSIGN(StoredImage image, assembler_.add({descriptor.digest, *text, manifest, *config}, source));
  return image;
}

// Of an index: all of its images that are in the archive, the platform's or the first in front. Else the one.
Result<std::vector<StoredImage>> Reader::read_all(const Descriptor& descriptor) {
  std::vector<StoredImage> out;
  const std::string* text = document(blob_name(descriptor.digest));
  Result<std::variant<Manifest, Index>> parsed = text == nullptr ? fail(Code::kNotFound, cat("manifest ", descriptor.digest, ": not in the archive")) : parse_manifest(*text, descriptor.media_type, limits_);
  if (!parsed) return fail(std::move(parsed).error());
  const auto* index = options_.all_platforms ? std::get_if<Index>(&*parsed) : nullptr;
  if (index == nullptr) {
    TRY_ASSIGN(std::optional<StoredImage> image, read_descriptor(descriptor, 0, false));
    if (image) out.push_back(*std::move(image));
    return out;
  }
  std::vector<std::string> ids;
  const std::optional<Descriptor> best = choose_platform(*index, options_.platform);
  for (const Descriptor& entry : index->manifests) {
    const bool attestation = entry.platform && entry.platform->architecture == "unknown";
    if (attestation || document(blob_name(entry.digest)) == nullptr) continue;
    TRY_ASSIGN(std::optional<StoredImage> image, read_descriptor(entry, 1, true));
    if (!image || std::ranges::find(ids, image->id) != ids.end()) continue;
    ids.push_back(image->id);
    out.insert(best && best->digest == entry.digest ? out.begin() : out.end(), *std::move(image));
  }
  if (ids.size() > 1) out.front().index_of = std::move(ids);
  return out;
}

Result<std::vector<StoredImage>> Reader::read_oci() {
  TRY_ASSIGN(auto parsed, parse_manifest(*document("index.json"), kOciIndex, limits_));
  std::vector<StoredImage> out;
  for (const Descriptor& descriptor : std::get<Index>(parsed).manifests) {
    TRY_ASSIGN(std::vector<StoredImage> images, read_all(descriptor));
    if (images.empty()) continue;
    StoredImage* image = &images.front();
    auto annotation = [&descriptor](const char* key) {
      auto found = descriptor.annotations.find(key);
      return found == descriptor.annotations.end() ? std::string() : found->second;
    };
    std::string text = annotation("io.containerd.image.name");
    if (text.empty()) text = annotation("org.opencontainers.image.ref.name");
    if (!text.empty()) {
      if (auto named = name(*image, text); !named) log::warn("image reference in the archive is not usable", {{"error", named.error()}});
    }
    if (!image->index_of.empty()) image->index_references = image->references;
    for (StoredImage& one : images) {
      auto same = std::ranges::find(out, one.id, &StoredImage::id);
      if (same == out.end()) {
        out.push_back(std::move(one));
        continue;
      }
      same->references.insert(same->references.end(), one.references.begin(), one.references.end());
      if (!one.index_of.empty()) {
        same->index_of = std::move(one.index_of);
        same->index_references = std::move(one.index_references);
      }
    }
  }
  if (out.empty())
    return fail(Code::kNotFound, cat("archive: no image for ", options_.platform.os, "/", options_.platform.architecture));
  if (document("manifest.json") != nullptr) TRY(name_from_docker(out));
  return out;
}

// docker save writes both forms; names that it knows by configuration are added.
Result<> Reader::name_from_docker(std::vector<StoredImage>& images) {
  auto root = json::parse(*document("manifest.json"), {.depth_max = 16, .bytes_max = limits_.document_bytes_max});
  if (!root || !root->is_array()) return {};
  for (const json::Value& item : root->get_array()) {
    const std::string* config = document(entry_name(json::get_string(item, {"Config"})));
    const auto* tags = json::get_array(item, {"RepoTags"});
    if (config == nullptr || tags == nullptr) continue;
    auto image = std::ranges::find(images, digest_of(*config), &StoredImage::id);
    if (image == images.end()) continue;
    for (const json::Value& tag : *tags)
      if (tag.is_string()) TRY(name(*image, tag.get_string()));
  }
  return {};
}

Result<std::vector<StoredImage>> Reader::read_docker() {
  TRY_ASSIGN(json::Value root, json::parse(*document("manifest.json"), {.depth_max = 16, .bytes_max = limits_.document_bytes_max}));
  if (!root.is_array() || root.get_array().size() > limits_.manifests_max) return fail(Code::kInvalidArgument, "docker archive: manifest.json: want a list");
  std::vector<StoredImage> out;
  for (const json::Value& item : root.get_array()) {
    std::string config_name = entry_name(json::get_string(item, {"Config"}));
    const std::string* config = document(config_name);
    if (config == nullptr) return fail(Code::kNotFound, cat("docker archive: configuration ", config_name.substr(0, 200), ": not in the archive"));
    const auto* layers = json::get_array(item, {"Layers"});
    if (layers == nullptr || layers->size() > limits_.layers_max) return fail(Code::kInvalidArgument, "docker archive: bad Layers");
    TRY_ASSIGN(ImageConfig parsed, parse_image_config(*config));
    if (parsed.diff_ids.size() != layers->size())
      return fail(Code::kInvalidArgument, cat("docker archive: ", layers->size(), " layers, the configuration has ", parsed.diff_ids.size()));
    // A docker-archive has no manifest: one is made, whose layers are the plain tars that the diff ids name.
    Assembler::Documents documents;
    documents.manifest.config = {.media_type = std::string(kOciConfig), .digest = digest_of(*config), .size = config->size(), .platform = {}, .annotations = {}};
    std::map<std::string, std::string> names;
    for (std::size_t i = 0; i < layers->size(); ++i) {
      if (!layers->at(i).is_string()) return fail(Code::kInvalidArgument, "docker archive: bad Layers");
      std::string layer_name = entry_name(layers->at(i).get_string());
      TRY_ASSIGN(std::uint64_t bytes, tar_bytes(layer_name));
      documents.manifest.layers.push_back({.media_type = std::string(kOciLayer), .digest = parsed.diff_ids[i], .size = bytes, .platform = {}, .annotations = {}});
      names[parsed.diff_ids[i]] = layer_name;
    }
    documents.config_text = *config;
    documents.manifest_text = format_manifest(documents.manifest);
    documents.manifest_digest = digest_of(documents.manifest_text);
    auto source = [this, &names](const Descriptor& blob) -> Result<StagedLayer> {
      const std::string& layer_name = names[blob.digest];
      auto found = layer(layer_name);
      if (!found) return fail(std::move(found).error().with(cat("layer ", layer_name.substr(0, 200))));
      // The plain tar, also of a compressed one: the diff id is checked next. Its record gives it out.
      found->meta.digest = found->meta.diff_id;
      found->meta.blob_bytes = found->tar_bytes;
      if (std::exchange(found->has_blob, false)) TRY(content_.root().remove_file(found->directory->path() + "/blob"));
      return found;
    };
    TRY_ASSIGN(StoredImage image, assembler_.add(documents, source));
    if (const auto* tags = json::get_array(item, {"RepoTags"}))
      for (const json::Value& tag : *tags)
        if (tag.is_string()) TRY(name(image, tag.get_string()));
    out.push_back(std::move(image));
  }
  if (out.empty()) return fail(Code::kNotFound, "docker archive: no image in it");
  return out;
}

Result<std::vector<StoredImage>> Reader::run() {
  TRY(scan());
  Result<std::vector<StoredImage>> images = document("index.json") != nullptr      ? read_oci()
                                            : document("manifest.json") != nullptr ? read_docker()
                                                                                   : fail(Code::kInvalidArgument, "neither an OCI layout nor a docker archive: it has no index.json and no manifest.json");
  if (!images) return images;
  if (images->size() == 1 && images->front().references.empty() && !options_.reference.empty()) TRY(name(images->front(), options_.reference));
  report(total_, "syncing");
  staged_.clear();  // what nothing named
  TRY(assembler_.publish());
  return images;
}

}  // namespace

Result<std::vector<StoredImage>> import_archive(int fd, const Content& content, const Limits& limits, const ArchiveOptions& options,
                                                const std::atomic<bool>& stop) {
  return Reader(fd, content, limits, options, stop).run();
}

}  // namespace monopod::image
