// For tests: hand-made tars and image archives, and digests of directory trees.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "codec/compress.h"
#include "image/digest.h"
#include "image/manifest.h"
#include "image/tar.h"

namespace monopod::image {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "monopod-image-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() {
    std::error_code ec;
    std::filesystem::remove_all(path_, ec);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

inline void write_text(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary).write(text.data(), static_cast<std::streamsize>(text.size()));
}
inline std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

struct TestEntry {
  TarEntry entry;
  std::string content;
};

inline TestEntry file_entry(std::string name, std::string content, unsigned mode = 0644) {
  TestEntry out;
  out.entry.name = std::move(name);
  out.entry.mode = mode;
  out.entry.mtime_seconds = 1'700'000'000;
  out.entry.size = out.entry.data_bytes = content.size();
  out.content = std::move(content);
  return out;
}
inline TestEntry typed_entry(TarEntry::Type type, std::string name, std::string link = {}, unsigned mode = 0755) {
  TestEntry out;
  out.entry.type = type;
  out.entry.name = std::move(name);
  out.entry.link = std::move(link);
  out.entry.mode = mode;
  out.entry.mtime_seconds = 1'700'000'000;
  return out;
}

inline std::string make_tar(const std::vector<TestEntry>& entries) {
  codec::StringSink out;
  TarWriter tar(out);
  for (const TestEntry& e : entries) {
    EXPECT_TRUE(tar.begin(e.entry));
    EXPECT_TRUE(tar.write(as_bytes(e.content)));
  }
  EXPECT_TRUE(tar.finish());
  return std::move(out.text());
}

// An OCI layout tar; the fields let a test break one thing at a time.
struct TestImage {
  std::vector<std::string> layers;  // plain tars, base first
  codec::Compression compression = codec::Compression::kNone;
  std::string name = "test:1";
  std::string cmd = "/bin/true";

  std::vector<std::pair<std::string, std::string>> files;  // of the layout, filled by build(); a test may edit them
  std::string config, manifest, index;

  static std::string blob_path(const std::string& bytes) { return "blobs/sha256/" + std::string(digest_hex(digest_of(bytes))); }

  void build() {
    ImageConfig c;
    c.platform = host_platform();
    c.cmd = {cmd};
    Manifest m;
    files.clear();
    for (const std::string& layer : layers) {
      c.diff_ids.push_back(digest_of(layer));
      std::string blob = *codec::compress(compression, layer);
      const char* suffix = compression == codec::Compression::kGzip ? "+gzip" : compression == codec::Compression::kZstd ? "+zstd" : "";
      m.layers.push_back({.media_type = std::string(kOciLayer) + suffix, .digest = digest_of(blob), .size = blob.size()});
      files.emplace_back(blob_path(blob), blob);
    }
    config = format_image_config(c);
    m.config = {.media_type = std::string(kOciConfig), .digest = digest_of(config), .size = config.size()};
    manifest = format_manifest(m);
    files.emplace_back(blob_path(config), config);
    files.emplace_back(blob_path(manifest), manifest);
    index = R"({"schemaVersion":2,"manifests":[{"mediaType":")" + std::string(kOciManifest) + R"(","digest":")" + digest_of(manifest) + R"(","size":)" +
            std::to_string(manifest.size()) + R"(,"annotations":{"org.opencontainers.image.ref.name":")" + name + "\"}}]}";
    files.emplace_back("index.json", index);
    files.emplace_back("oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
  }
  std::string tar() const {
    std::vector<TestEntry> entries;
    for (const auto& [path, bytes] : files) entries.push_back(file_entry(path, bytes));
    return make_tar(entries);
  }
  std::string id() const { return digest_of(config); }
};

// A digest over names, types, modes, owners, sizes, times, link targets and contents of a tree.
inline std::string tree_digest(const std::string& directory) {
  std::vector<std::string> lines;
  for (const auto& item : std::filesystem::recursive_directory_iterator(directory)) {
    struct ::stat st{};
    ::lstat(item.path().c_str(), &st);
    std::ostringstream line;
    line << item.path().string() << ' ' << st.st_mode << ' ' << st.st_uid << ' ' << st.st_gid << ' ' << st.st_nlink << ' ' << st.st_mtim.tv_sec << '.' << st.st_mtim.tv_nsec;
    if (item.is_symlink()) line << ' ' << std::filesystem::read_symlink(item.path()).string();
    else if (item.is_regular_file()) line << ' ' << st.st_size << ' ' << digest_of(read_text(item.path().string()));
    lines.push_back(line.str());
  }
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const std::string& line : lines) all += line + "\n";
  return digest_of(all);
}

}  // namespace monopod::image
