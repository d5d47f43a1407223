#include "image/archive_builder.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "base/strings.h"
#include "codec/compress.h"
#include "image/digest.h"
#include "image/manifest.h"
#include "image/reference.h"
#include "image/tar.h"
#include "sys/root.h"

namespace monopod::image {
namespace {

constexpr std::uint64_t kBuildBytesMax = 1ULL << 30;  // the layer is made in memory

class HashingSink final : public codec::ByteSink {
 public:
  explicit HashingSink(codec::ByteSink& output) : output_(output) {}
  Result<> write(std::span<const std::byte> bytes) override {
    hash_.update(bytes);
    return output_.write(bytes);
  }
  std::string finish() { return hash_.finish(); }

 private:
  codec::ByteSink& output_;
  Hash hash_;
};

struct Item {
  TarEntry entry;
  std::string source;   // a regular file of the host
  std::string content;
};

// Sorted by name, each parent before its children.
using Items = std::map<std::string, Item>;

class Collector {
 public:
  explicit Collector(std::int64_t mtime) : mtime_(mtime) {}
  Items items;

  Result<> add(const BuildFile& file) {
    if (!file.path.starts_with('/')) return fail(Code::kInvalidArgument, cat("file \"", file.path, "\": the path is not absolute"));
    std::string path;
    for (std::string_view part : split(file.path, '/')) {
      if (part.empty() || part == ".") continue;
      if (part == "..") return fail(Code::kInvalidArgument, cat("file \"", file.path, "\": contains \"..\""));
      path += cat(path.empty() ? "" : "/", part);
    }
    if (!file.source.empty()) return add_source(file, path);
    Item item = make(path, file);
    if (!file.link_target.empty()) {
      item.entry.type = TarEntry::Type::kSymlink;
      item.entry.link = file.link_target;
      item.entry.mode = 0777;
    } else if (file.directory) {
      item.entry.type = TarEntry::Type::kDirectory;
      item.entry.mode = file.mode == 0 ? 0755 : file.mode;
    } else {
      item.entry.mode = file.mode == 0 ? 0644 : file.mode;
      item.content = file.content;
      item.entry.size = item.entry.data_bytes = file.content.size();
    }
    return put(path, std::move(item));
  }

 private:
  Item make(const std::string& path, const BuildFile& file) const {
    Item item;
    item.entry.name = path;
    item.entry.uid = file.uid;
    item.entry.gid = file.gid;
    item.entry.mtime_seconds = mtime_;
    return item;
  }

  Result<> put(const std::string& path, Item item) {
    if (path.empty()) return {};  // the root is as it is
    std::size_t slash = path.rfind('/');
    if (slash != std::string::npos && !items.contains(path.substr(0, slash))) {
      BuildFile parent{.path = "/" + path.substr(0, slash), .source = {}, .content = {}, .link_target = {}, .directory = true};
      TRY(add(parent));
    }
    if (item.entry.type == TarEntry::Type::kDirectory) item.entry.name += '/';
    items[path] = std::move(item);
    return {};
  }

  Result<> add_source(const BuildFile& file, const std::string& path) {
    struct ::stat st;
    if (::lstat(file.source.c_str(), &st) != 0) return fail_errno(cat("read ", file.source));
    Item item = make(path, file);
    item.entry.mode = file.mode != 0 && !S_ISDIR(st.st_mode) ? file.mode : st.st_mode & 07777;
    if (S_ISREG(st.st_mode)) {
      item.source = file.source;
      item.entry.size = item.entry.data_bytes = static_cast<std::uint64_t>(st.st_size);
    } else if (S_ISLNK(st.st_mode)) {
      std::string target(4096, '\0');
      ssize_t n = ::readlink(file.source.c_str(), target.data(), target.size());
      if (n < 0) return fail_errno(cat("read ", file.source));
      item.entry.type = TarEntry::Type::kSymlink;
      item.entry.link = target.substr(0, static_cast<std::size_t>(n));
    } else if (S_ISDIR(st.st_mode)) {
      item.entry.type = TarEntry::Type::kDirectory;
    } else {
      return fail(Code::kInvalidArgument, cat(file.source, ": not a file, directory or symbolic link"));
    }
    TRY(put(path, std::move(item)));
    if (!S_ISDIR(st.st_mode)) return {};
    TRY_ASSIGN(sys::Root root, sys::Root::open(file.source));
    TRY_ASSIGN(auto entries, root.read_directory("."));
    for (const sys::DirEntry& entry : entries) {
      BuildFile below = file;
      below.path = cat(file.path, "/", entry.name);
      below.source = cat(file.source, "/", entry.name);
      TRY(add_source(below, cat(path, path.empty() ? "" : "/", entry.name)));
    }
    return {};
  }

  std::int64_t mtime_;
};

Result<> write_layer(const Items& items, codec::ByteSink& output) {
  TarWriter tar(output);
  std::vector<std::byte> buffer(256U << 10);
  for (const auto& [path, item] : items) {
    TRY(tar.begin(item.entry));
    if (item.source.empty()) {
      TRY(tar.write(as_bytes(item.content)));
      continue;
    }
    sys::Fd fd(::open(item.source.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd) return fail_errno(cat("open ", item.source));
    for (;;) {
      ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return fail_errno(cat("read ", item.source));
      if (n == 0) break;
      TRY(tar.write(std::span(buffer).first(static_cast<std::size_t>(n))));
    }
  }
  return tar.finish();
}

Result<> put_blob(TarWriter& tar, const std::string& name, std::string_view bytes, std::int64_t mtime) {
  TarEntry entry;
  entry.name = name;
  entry.mode = 0644;
  entry.mtime_seconds = mtime;
  entry.size = entry.data_bytes = bytes.size();
  TRY(tar.begin(entry));
  return tar.write(as_bytes(bytes));
}

}  // namespace

Result<std::string> build_archive(const BuildOptions& options, const std::string& output_path) {
  const std::int64_t mtime = std::chrono::duration_cast<std::chrono::seconds>(options.created.time_since_epoch()).count();
  TRY_ASSIGN(Reference reference, parse_reference(options.reference));
  Collector collector(mtime);
  for (const BuildFile& file : options.files) TRY(collector.add(file));
  std::uint64_t bytes = 0;
  for (const auto& [path, item] : collector.items) bytes += item.entry.size;
  if (bytes > kBuildBytesMax) return fail(Code::kResourceExhausted, cat("build: ", bytes, " bytes exceed ", kBuildBytesMax));

  codec::StringSink packed;
  auto gzip = codec::make_compressor(codec::Compression::kGzip, packed);
  HashingSink plain(*gzip);
  TRY(write_layer(collector.items, plain));
  TRY(gzip->finish());
  const std::string& layer = packed.text();

  ImageConfig config = options.config;
  if (config.platform.architecture.empty()) config.platform = host_platform();
  if (config.created.empty()) config.created = format_rfc3339(options.created);
  config.diff_ids = {plain.finish()};
  TRY_ASSIGN(json::Value document, json::parse(format_image_config(config)));
  fit_history(document, "monopod image pack");
  std::string config_text = json::format(document);
  Manifest manifest;
  manifest.config = {.media_type = std::string(kOciConfig), .digest = digest_of(config_text), .size = config_text.size(), .platform = {}, .annotations = {}};
  manifest.layers.push_back({.media_type = std::string(kOciLayer) + "+gzip", .digest = digest_of(layer), .size = layer.size(), .platform = {}, .annotations = {}});
  std::string manifest_text = format_manifest(manifest);
  std::string manifest_digest = digest_of(manifest_text);

  boost::json::object entry;
  entry["mediaType"] = kOciManifest;
  entry["digest"] = manifest_digest;
  entry["size"] = manifest_text.size();
  boost::json::object platform;
  platform["architecture"] = config.platform.architecture;
  platform["os"] = config.platform.os;
  if (!config.platform.variant.empty()) platform["variant"] = config.platform.variant;
  entry["platform"] = std::move(platform);
  boost::json::object annotations;
  annotations["io.containerd.image.name"] = reference.text();
  annotations["org.opencontainers.image.ref.name"] = reference.text();
  entry["annotations"] = std::move(annotations);
  boost::json::object index;
  index["schemaVersion"] = 2;
  index["mediaType"] = kOciIndex;
  index["manifests"] = boost::json::array{std::move(entry)};

  codec::StringSink archive;
  TarWriter tar(archive);
  TRY(put_blob(tar, "oci-layout", R"({"imageLayoutVersion":"1.0.0"})", mtime));
  TRY(put_blob(tar, "index.json", json::format(json::Value(std::move(index))), mtime));
  for (const auto& [digest, text] : {std::pair<std::string, const std::string&>(manifest_digest, manifest_text), {manifest.config.digest, config_text}, {manifest.layers[0].digest, layer}})
    TRY(put_blob(tar, cat("blobs/sha256/", digest_hex(digest)), text, mtime));
  TRY(tar.finish());

  std::string temporary = cat(output_path, ".tmp-", ::getpid());
  sys::Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!fd) return fail_errno(cat("create ", temporary));
  Result<> written = sys::write_all(fd.get(), archive.text());
  if (written && ::rename(temporary.c_str(), output_path.c_str()) != 0) written = fail_errno(cat("rename to ", output_path));
  if (!written) {
    (void)::unlink(temporary.c_str());
    return fail(std::move(written).error());
  }
  return manifest_digest;
}

}  // namespace monopod::image
