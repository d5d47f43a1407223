#include "image/archive_writer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include "base/strings.h"
#include "codec/json.h"
#include "image/digest.h"
#include "image/manifest.h"
#include "image/reference.h"
#include "image/tar.h"

namespace monopod::image {
namespace {

class FdSink final : public codec::ByteSink {
 public:
  explicit FdSink(int fd) : fd_(fd) {}
  Result<> write(std::span<const std::byte> bytes) override { return sys::write_all(fd_, as_text(bytes)); }

 private:
  int fd_;
};

std::string path_of(std::string_view digest) { return cat("blobs/sha256/", digest_hex(digest)); }

Result<> put(TarWriter& tar, std::string name, std::string_view bytes) {
  TarEntry entry;
  entry.name = std::move(name);
  entry.mode = 0644;
  entry.size = entry.data_bytes = bytes.size();
  TRY(tar.begin(entry));
  return tar.write(as_bytes(bytes));
}

Result<> put_blob(TarWriter& tar, const Content& content, const std::string& digest) {
  auto file = content.open_blob(digest);
  if (!file && file.error().code() == Code::kNotFound)
    return fail(Code::kFailedPrecondition, cat("blob ", digest, " is not kept as it came: the image was loaded without keeping blobs; pull or load it again with monopod image"));
  if (!file) return fail(std::move(file).error());
  struct ::stat st;
  if (::fstat(file->get(), &st) != 0) return fail_errno(cat("stat blob ", digest));
  TarEntry entry;
  entry.name = path_of(digest);
  entry.mode = 0644;
  entry.size = entry.data_bytes = static_cast<std::uint64_t>(st.st_size);
  TRY(tar.begin(entry));
  std::vector<std::byte> buffer(256U << 10);
  for (std::uint64_t rest = entry.size; rest > 0;) {
    ssize_t n = ::read(file->get(), buffer.data(), static_cast<std::size_t>(std::min<std::uint64_t>(rest, buffer.size())));
    if (n < 0) return fail_errno(cat("read blob ", digest));
    if (n == 0) return fail(Code::kDataLoss, cat("blob ", digest, " ended early"));
    TRY(tar.write(std::span(buffer).first(static_cast<std::size_t>(n))));
    rest -= static_cast<std::uint64_t>(n);
  }
  return {};
}

}  // namespace

Result<> save_archive(const Content& content, const Limits& limits, const std::vector<ImageToSave>& images, int fd) {
  json::Array manifests, docker;
  std::vector<std::string> blobs;
  std::map<std::string, bool> listed;
  auto list = [&](const std::string& digest) {
    if (!std::exchange(listed[digest], true)) blobs.push_back(digest);
  };
  for (const ImageToSave& item : images) {
    TRY_ASSIGN(std::string text, content.read_blob(item.image.manifest_digest, limits.document_bytes_max));
    TRY_ASSIGN(json::Value root, json::parse(text));
    std::string media_type(json::get_string(root, {"mediaType"}, kOciManifest));
    list(item.image.manifest_digest);
    list(item.image.id);
    json::Array layers, tags;
    for (const std::string& blob : item.image.blobs) {
      list(blob);
      layers.emplace_back(path_of(blob));
    }
    for (std::size_t i = 0; i < std::max<std::size_t>(item.references.size(), 1); ++i) {
      json::Object entry;
      entry["mediaType"] = media_type;
      entry["digest"] = item.image.manifest_digest;
      entry["size"] = text.size();
      if (i < item.references.size()) {
        json::Object annotations;
        annotations["io.containerd.image.name"] = item.references[i];
        TRY_ASSIGN(Reference reference, parse_reference(item.references[i]));
        annotations["org.opencontainers.image.ref.name"] = reference.tag;
        entry["annotations"] = std::move(annotations);
        tags.emplace_back(item.references[i]);
      }
      manifests.emplace_back(std::move(entry));
    }
    json::Object old;
    old["Config"] = path_of(item.image.id);
    old["RepoTags"] = std::move(tags);
    old["Layers"] = std::move(layers);
    docker.emplace_back(std::move(old));
  }
  json::Object index;
  index["schemaVersion"] = 2;
  index["mediaType"] = kOciIndex;
  index["manifests"] = std::move(manifests);
  FdSink output(fd);
  TarWriter tar(output);
  TRY(put(tar, "oci-layout", R"({"imageLayoutVersion":"1.0.0"})"));
  TRY(put(tar, "index.json", json::format(std::move(index))));
  TRY(put(tar, "manifest.json", json::format(std::move(docker))));
  for (const std::string& digest : blobs) TRY(put_blob(tar, content, digest));
  return tar.finish();
}

}  // namespace monopod::image
