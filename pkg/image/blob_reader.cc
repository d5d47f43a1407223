#include "image/blob_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "base/strings.h"
#include "codec/compress.h"
#include "image/block_source.h"

namespace monopod::image {

std::vector<BlobName> layer_names(const Manifest& manifest, const ImageConfig& config) {
  std::vector<BlobName> out;
  std::string chain;
  for (std::size_t i = 0; i < manifest.layers.size() && i < config.diff_ids.size(); ++i) {
    chain = chain_id(chain, config.diff_ids[i]);
    out.push_back({.digest = manifest.layers[i].digest, .diff_id = config.diff_ids[i], .chain = chain});
  }
  return out;
}

Result<> BlobReader::read_file(sys::Fd file, bool plain) {
  file_ = std::move(file);
  raw_.emplace(file_.get());
  out_ = &*raw_;
  if (!plain) return {};
  std::array<std::byte, 4> head{};
  TRY_ASSIGN(std::size_t n, codec::read_full(*raw_, head));
  if (::lseek(file_.get(), 0, SEEK_SET) < 0) return fail_errno("rewind blob");
  unpacked_ = codec::make_decompressor(codec::detect_compression(std::span(head).first(n)), *raw_);
  out_ = unpacked_.get();
  return {};
}

Result<> BlobReader::read_record(const Content& content, const LayerMeta& layer) {
  const std::string entry = Content::layer_entry(layer.key);
  TRY_ASSIGN(file_, content.root().open_file(entry + "/record", O_RDONLY | O_NOFOLLOW));
  // A layer that came twice may have both: which one the record was made with tells where it looks for what is kept.
  if (auto directory = content.root().open_root(entry + "/fs")) directory_ = *std::move(directory);
  if (auto kept = content.root().open_root(entry + "/kept")) kept_ = *std::move(kept);
  if (content.root().open_file(entry + "/erofs", O_PATH | O_NOFOLLOW)) {
    TRY_ASSIGN(image_, open_layer_image(content.image_path(layer.key)));
  }
  raw_.emplace(file_.get());
  unpacked_ = codec::make_decompressor(codec::Compression::kZstd, *raw_, {.ratio_max = UINT64_MAX});
  blocks_ = std::make_unique<BlockSource>(*unpacked_);
  auto open_file = [this](const std::string& path, std::uint64_t inode) -> Result<sys::Fd> {
    constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
    const std::string number = std::to_string(inode);
    Result<sys::Fd> file = fail(Code::kNotFound, "none");
    if (kept_) file = kept_->open_file(number, kFlags);
    if (!file && image_ && image_->kept) file = image_->kept->open_file(number, kFlags);
    if (!file && directory_) file = directory_->open_file(path, kFlags);
    if (!file && image_) file = image_->fs.open_file(path, kFlags);
    if (!file) return file;
    struct ::stat st;
    if (::fstat(file->get(), &st) != 0) return fail_errno("stat");
    if (!S_ISREG(st.st_mode)) return fail(Code::kDataLoss, "not a file any more");
    return file;
  };
  tar_ = std::make_unique<LayerTar>(*blocks_, std::move(open_file), layer.diff_id);
  out_ = tar_.get();
  return {};
}

Result<std::unique_ptr<BlobReader>> BlobReader::open(const Content& content, const BlobName& name, bool plain) {
  std::unique_ptr<BlobReader> out(new BlobReader);
  auto layer = content.find_recorded(name.diff_id, name.chain);
  bool same = name.digest == name.diff_id;
  auto file = content.open_blob(name.digest);
  if (layer && (plain || (same && !file))) {
    TRY(out->read_record(content, *layer));
    return out;
  }
  if (!file && file.error().code() == Code::kNotFound)
    return fail(Code::kFailedPrecondition, cat("blob ", name.digest, " is not kept as it came: the image was loaded without keeping blobs; pull or load it again with monopod image"));
  if (!file) return fail(std::move(file).error());
  TRY(out->read_file(*std::move(file), plain));
  return out;
}

}  // namespace monopod::image
