#include "image/layer_unpacker.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <array>

#include "base/strings.h"
#include "codec/compress.h"
#include "image/digest.h"

namespace monopod::image {
namespace {

// The bytes read ahead, then the rest.
class Replay final : public codec::ByteSource {
 public:
  Replay(std::span<const std::byte> head, codec::ByteSource& rest) : head_(head), rest_(rest) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    if (head_.empty()) return rest_.read(into);
    std::size_t n = std::min(head_.size(), into.size());
    std::memcpy(into.data(), head_.data(), n);
    head_ = head_.subspan(n);
    return n;
  }

 private:
  std::span<const std::byte> head_;
  codec::ByteSource& rest_;
};

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

// Large reads of what is below, whatever is asked for: a layer of small files would be hashed and kept in pieces of their size.
class BlockSource final : public codec::ByteSource {
 public:
  explicit BlockSource(codec::ByteSource& input) : input_(input), block_(kBlockBytes) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    if (begin_ == end_) {
      if (into.size() >= block_.size()) return input_.read(into);
      TRY_ASSIGN(end_, input_.read(block_));
      begin_ = 0;
    }
    std::size_t n = std::min(into.size(), end_ - begin_);
    std::memcpy(into.data(), block_.data() + begin_, n);
    begin_ += n;
    return n;
  }

 private:
  static constexpr std::size_t kBlockBytes = 256U << 10;

  codec::ByteSource& input_;
  std::vector<std::byte> block_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

Result<> drain(codec::ByteSource& source) {
  std::array<std::byte, 65536> buffer;
  for (;;) {
    TRY_ASSIGN(std::size_t n, source.read(buffer));
    if (n == 0) return {};
  }
}

}  // namespace

Result<StagedLayer> stage_layer(const Content& content, codec::ByteSource& raw, const Limits& limits, const std::atomic<bool>& stop) {
  StagedLayer out;
  TRY_ASSIGN(out.directory, content.make_staging());
  std::string fs = out.directory->path() + "/fs";
  TRY(content.root().make_directory(fs, 0700));
  TRY_ASSIGN(sys::Root root, content.root().open_root(fs));

  sys::Fd kept;
  if (content.keeps_blobs()) {
    TRY_ASSIGN(kept, content.root().open_no_symlinks(out.directory->path() + "/blob", O_WRONLY | O_CREAT | O_EXCL, 0600));
    out.has_blob = true;
  }
  TeeSource tee(raw, std::move(kept));
  HashingSource blob(tee);
  std::array<std::byte, 4> head;
  BlockSource blocks(blob);
  TRY_ASSIGN(std::size_t n, codec::read_full(blocks, head));
  Replay replay(std::span(head).first(n), blocks);
  codec::Compression compression = codec::detect_compression(std::span(head).first(n));
  auto plain = codec::make_decompressor(compression, replay,
                                        {.bytes_max = limits.layer_bytes_max + (1ULL << 30),
                                         .ratio_max = limits.compression_ratio_max,
                                         .ratio_floor_bytes = limits.compression_floor_bytes});
  if (compression == codec::Compression::kNone) {
    // The same bytes: one hash serves as both digests.
    TRY_ASSIGN(Unpacked unpacked, unpack_layer(*plain, root, {.bytes_max = limits.layer_bytes_max, .entries_max = limits.layer_entries_max}, stop));
    TRY(drain(*plain));
    out.meta.bytes = unpacked.bytes;
    out.meta.entries = unpacked.entries;
    out.meta.has_root = unpacked.has_root;
    out.implicit_directories = std::move(unpacked.implicit_directories);
  } else {
    HashingSource diff(*plain);
    TRY_ASSIGN(Unpacked unpacked, unpack_layer(diff, root, {.bytes_max = limits.layer_bytes_max, .entries_max = limits.layer_entries_max}, stop));
    TRY(drain(diff));
    out.meta.diff_id = diff.finish();
    out.meta.bytes = unpacked.bytes;
    out.meta.entries = unpacked.entries;
    out.meta.has_root = unpacked.has_root;
    out.implicit_directories = std::move(unpacked.implicit_directories);
  }
  out.meta.blob_bytes = blob.bytes();
  out.meta.digest = blob.finish();
  if (out.meta.diff_id.empty()) out.meta.diff_id = out.meta.digest;
  out.meta.implicit = !out.implicit_directories.empty();
  if (!out.meta.has_root) {
    TRY_ASSIGN(sys::Fd fd, content.root().open_file(fs, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (::fchmod(fd.get(), 0755) != 0) return fail_errno("set mode of layer root");
  }
  return out;
}

Result<> settle_layer(const Content& content, StagedLayer& layer, const std::string& chain, const std::vector<std::string>& parents) {
  layer.meta.key = layer.implicit_directories.empty() || parents.empty() ? layer.meta.diff_id : chain;
  if (layer.implicit_directories.empty() || parents.empty()) return {};
  std::vector<sys::Root> roots;
  for (const std::string& parent : parents) {
    TRY_ASSIGN(sys::Root root, sys::Root::open(parent));
    roots.push_back(std::move(root));
  }
  TRY_ASSIGN(sys::Root own, content.root().open_root(layer.directory->path() + "/fs"));
  return adopt_attributes(own, layer.implicit_directories, roots);
}

}  // namespace monopod::image
