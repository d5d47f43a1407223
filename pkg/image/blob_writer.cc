#include "image/blob_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/strings.h"

namespace monopod::image {
namespace {
constexpr char kFile[] = "/blob";
constexpr std::size_t kReadBytes = 256U << 10;
}

Result<std::unique_ptr<BlobWriter>> BlobWriter::open(const Content& content) {
  TRY_ASSIGN(std::unique_ptr<Staged> directory, content.make_staging());
  TRY_ASSIGN(sys::Fd file, content.root().open_no_symlinks(directory->path() + kFile, O_RDWR | O_CREAT | O_EXCL, 0600));
  return std::unique_ptr<BlobWriter>(new BlobWriter(content, std::move(directory), std::move(file)));
}

Result<> BlobWriter::write(std::span<const std::byte> bytes) {
  if (Result<> written = sys::write_all(file_.get(), as_text(bytes)); !written) {
    // The hash has not seen them: neither may the file have, so that the sender can go on from here.
    if (::ftruncate(file_.get(), static_cast<off_t>(bytes_)) != 0 || ::lseek(file_.get(), static_cast<off_t>(bytes_), SEEK_SET) < 0) return fail_errno("write blob: take back what was written");
    return fail(std::move(written).error().with("write blob"));
  }
  hash_.update(bytes);
  bytes_ += bytes.size();
  return {};
}

Result<std::string> BlobWriter::finish(std::string_view like) {
  if (!digest_.empty()) return digest_;
  if (like.empty() || is_digest(like)) return digest_ = hash_.finish();
  Hash hash(like);
  std::string buffer(kReadBytes, '\0');
  for (std::uint64_t at = 0; at < bytes_;) {
    ssize_t n = ::pread(file_.get(), buffer.data(), buffer.size(), static_cast<off_t>(at));
    if (n < 0) return fail_errno("read blob");
    if (n == 0) return fail(Code::kDataLoss, "read blob: it ends early");
    hash.update(as_bytes(std::string_view(buffer).substr(0, static_cast<std::size_t>(n))));
    at += static_cast<std::uint64_t>(n);
  }
  return digest_ = hash.finish();
}

Result<> BlobWriter::sync() {
  if (::fdatasync(file_.get()) != 0) return fail_errno("sync blob");
  return {};
}

Result<> BlobWriter::publish() {
  TRY_ASSIGN(std::string digest, finish());
  return content_.publish_blob(directory_->path() + kFile, digest);
}

}  // namespace monopod::image
