#include "image/layer_unpacker.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>

#include "base/strings.h"
#include "codec/compress.h"
#include "image/block_source.h"
#include "image/digest.h"
#include "image/erofs_layer.h"
#include "image/layer_record.h"
#include "image/replay_source.h"

namespace monopod::image {
namespace {

// What is read goes to a file too.
class TeeSource final : public codec::ByteSource {
 public:
  TeeSource(codec::ByteSource& input, sys::Fd file) : input_(input), file_(std::move(file)) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    TRY_ASSIGN(std::size_t n, input_.read(into));
    if (file_) TRY(sys::write_all(file_.get(), as_text(into.first(n))));
    return n;
  }

 private:
  codec::ByteSource& input_;
  sys::Fd file_;
};

Result<> drain(codec::ByteSource& source) {
  std::array<std::byte, 65536> buffer;
  for (;;) {
    TRY_ASSIGN(std::size_t n, source.read(buffer));
    if (n == 0) return {};
  }
}

// An image whose directories are all described is complete at once.
Result<Unpacked> unpack_image(codec::ByteSource& source, const sys::Root& directory, bool compress, const UnpackLimits& limits, const std::atomic<bool>& stop, LayerRecorder* recorder, StagedLayer& out) {
  TRY_ASSIGN(sys::Fd file, directory.open_no_symlinks("erofs", O_RDWR | O_CREAT | O_EXCL, 0600));
  auto image = std::make_shared<ErofsLayer>(std::move(file), compress);
  TRY_ASSIGN(Unpacked unpacked, image->unpack(source, limits, stop, recorder));
  if (unpacked.implicit_directories.empty()) TRY(image->finish());
  else out.image = std::move(image);
  return unpacked;
}

Result<Unpacked> unpack_directory(codec::ByteSource& source, const sys::Root& directory, const UnpackLimits& limits, const std::atomic<bool>& stop, LayerRecorder* recorder) {
  TRY(directory.make_directory("fs", 0700));
  TRY_ASSIGN(sys::Root root, directory.open_root("fs"));
  TRY_ASSIGN(Unpacked unpacked, unpack_layer(source, root, limits, stop, recorder));
  if (unpacked.has_root) return unpacked;
  TRY_ASSIGN(sys::Fd fd, directory.open_file("fs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  if (::fchmod(fd.get(), 0755) != 0) return fail_errno("set mode of layer root");
  return unpacked;
}

// The plain tar into the directory; with its record where layers are to be given out again.
Result<> unpack_plain(codec::ByteSource& plain, const sys::Root& directory, const Content& content, const Limits& limits, const std::atomic<bool>& stop, StagedLayer& out) {
  std::unique_ptr<LayerRecorder> recorder;
  if (content.keeps_blobs()) {
    TRY_ASSIGN(recorder, LayerRecorder::open(plain, directory));
  }
  codec::ByteSource& source = recorder ? *recorder : plain;
  const UnpackLimits own{.bytes_max = limits.layer_bytes_max, .entries_max = limits.layer_entries_max};
  Unpacked unpacked;
  if (content.form() == LayerForm::kDirectory) {
    TRY_ASSIGN(unpacked, unpack_directory(source, directory, own, stop, recorder.get()));
  } else {
    TRY_ASSIGN(unpacked, unpack_image(source, directory, content.form() == LayerForm::kErofsZstd, own, stop, recorder.get(), out));
  }
  TRY(drain(source));
  if (recorder) TRY(recorder->finish());
  out.has_record = recorder != nullptr;
  out.meta.bytes = unpacked.bytes;
  out.meta.entries = unpacked.entries;
  out.meta.has_root = unpacked.has_root;
  out.implicit_directories = std::move(unpacked.implicit_directories);
  return {};
}

}  // namespace

Result<StagedLayer> stage_layer(const Content& content, codec::ByteSource& raw, const Limits& limits, const std::atomic<bool>& stop) {
  StagedLayer out;
  TRY_ASSIGN(out.directory, content.make_staging());
  TRY_ASSIGN(sys::Root directory, content.root().open_root(out.directory->path()));

  std::array<std::byte, 4> head;
  TRY_ASSIGN(std::size_t n, codec::read_full(raw, head));
  codec::Compression compression = codec::detect_compression(std::span(head).first(n));
  ReplaySource whole(std::span(head).first(n), raw);
  sys::Fd kept;
  out.has_blob = content.keeps_blobs() && compression != codec::Compression::kNone;
  if (out.has_blob) {
    TRY_ASSIGN(kept, directory.open_no_symlinks("blob", O_WRONLY | O_CREAT | O_EXCL, 0600));
  }
  TeeSource tee(whole, std::move(kept));
  HashingSource blob(tee);
  BlockSource blocks(blob);
  auto plain = codec::make_decompressor(compression, blocks,
                                        {.bytes_max = limits.layer_bytes_max + (1ULL << 30),
                                         .ratio_max = limits.compression_ratio_max,
                                         .ratio_floor_bytes = limits.compression_floor_bytes});
  if (compression == codec::Compression::kNone) {
    // The same bytes: one hash serves as both digests.
    TRY(unpack_plain(*plain, directory, content, limits, stop, out));
    out.tar_bytes = blob.bytes();
  } else {
    HashingSource diff(*plain);
    TRY(unpack_plain(diff, directory, content, limits, stop, out));
    out.tar_bytes = diff.bytes();
    out.meta.diff_id = diff.finish();
  }
  out.meta.blob_bytes = blob.bytes();
  out.meta.digest = blob.finish();
  if (out.meta.diff_id.empty()) out.meta.diff_id = out.meta.digest;
  out.meta.implicit = !out.implicit_directories.empty();
  return out;
}

Result<> settle_layer(const Content& content, StagedLayer& layer, const std::string& chain, const std::vector<std::string>& parents) {
  const bool adopts = !layer.implicit_directories.empty() && !parents.empty();
  layer.meta.key = adopts ? chain : layer.meta.diff_id;
  std::vector<OpenLayer> opened;
  std::vector<sys::Root> roots;
  for (const std::string& parent : adopts ? parents : std::vector<std::string>()) {
    TRY_ASSIGN(OpenLayer one, open_layer(parent));
    roots.push_back(std::move(one.fs));
    opened.push_back(std::move(one));
  }
  if (layer.image) {
    TRY(layer.image->adopt(layer.implicit_directories, roots));
    TRY(layer.image->finish());
    layer.image.reset();
    return {};
  }
  if (!adopts) return {};
  TRY_ASSIGN(sys::Root own, content.root().open_root(layer.directory->path() + "/fs"));
  return adopt_attributes(own, layer.implicit_directories, roots);
}

}  // namespace monopod::image
