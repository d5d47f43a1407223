#include "image/layer_record.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/strings.h"
#include "image/limits.h"

namespace monopod::image {
namespace {

constexpr std::string_view kMagic = "MLR1";
constexpr std::size_t kLiteralBytes = 64U << 10;
constexpr int kLevel = 1;  // headers of one layer are much the same: higher levels gain little
enum class Piece : std::uint8_t { kEnd, kLiteral, kFile, kSameFile };

void put_number(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

std::unexpected<Error> bad(std::string_view why) { return fail(Code::kDataLoss, cat("record: ", why)); }

}  // namespace

LayerRecorder::LayerRecorder(codec::ByteSource& input, sys::Root directory, sys::Fd file)
    : input_(input), directory_(std::move(directory)), file_(std::move(file)), sink_(file_.get()), zstd_(codec::make_compressor(codec::Compression::kZstd, sink_, {.level = kLevel})) {}

Result<std::unique_ptr<LayerRecorder>> LayerRecorder::open(codec::ByteSource& input, const sys::Root& directory) {
  TRY_ASSIGN(sys::Fd file, directory.open_no_symlinks("record", O_WRONLY | O_CREAT | O_EXCL, 0600));
  TRY_ASSIGN(sys::Root own, directory.duplicate());
  std::unique_ptr<LayerRecorder> out(new LayerRecorder(input, std::move(own), std::move(file)));
  TRY(out->zstd_->write(as_bytes(kMagic)));
  return out;
}

Result<std::size_t> LayerRecorder::read(std::span<std::byte> into) {
  if (expected_ > 0) {
    TRY_ASSIGN(std::size_t n, input_.read(into.first(static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), expected_)))));
    expected_ -= n;
    total_ += n;
    return n;
  }
  TRY_ASSIGN(std::size_t n, input_.read(into));
  total_ += n;
  literal_.append(as_text(into.first(n)));
  if (literal_.size() >= kLiteralBytes) TRY(flush());
  return n;
}

Result<> LayerRecorder::flush() {
  if (literal_.empty()) return {};
  std::string head(1, static_cast<char>(Piece::kLiteral));
  put_number(head, literal_.size());
  TRY(zstd_->write(as_bytes(head)));
  TRY(zstd_->write(as_bytes(literal_)));
  literal_.clear();
  return {};
}

Result<> LayerRecorder::expect_file(std::string_view path, std::uint64_t inode, std::uint64_t offset, std::uint64_t bytes) {
  if (bytes == 0) return {};
  TRY(flush());
  std::string piece;
  if (path == path_ && inode == inode_) {
    piece += static_cast<char>(Piece::kSameFile);
  } else {
    piece += static_cast<char>(Piece::kFile);
    put_number(piece, path.size());
    piece += path;
    put_number(piece, inode);
    path_ = path;
    inode_ = inode;
  }
  put_number(piece, offset);
  put_number(piece, bytes);
  expected_ = bytes;
  return zstd_->write(as_bytes(piece));
}

Result<> LayerRecorder::keep(int parent, const std::string& leaf) {
  struct ::stat st;
  if (::fstatat(parent, leaf.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno("replace");
  if (S_ISDIR(st.st_mode)) {
    sys::Root below(sys::Fd(::openat(parent, leaf.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)));
    if (below.fd() < 0) return fail_errno("replace");
    TRY_ASSIGN(auto entries, below.read_directory("."));
    for (const sys::DirEntry& entry : entries)
      if (entry.type == DT_DIR || entry.type == DT_REG || entry.type == DT_UNKNOWN) TRY(keep(below.fd(), entry.name));
    return {};
  }
  if (!S_ISREG(st.st_mode)) return {};
  if (!std::exchange(keeps_, true)) TRY(directory_.make_directory("kept", 0700));
  TRY_ASSIGN(sys::Root::Parent to, directory_.open_parent(cat("kept/", st.st_ino)));
  if (::renameat(parent, leaf.c_str(), to.directory.get(), to.name.c_str()) != 0) return fail_errno("replace");
  // A second name of what is kept already: renaming one onto the other leaves both.
  if (::unlinkat(parent, leaf.c_str(), 0) != 0 && errno != ENOENT) return fail_errno("replace");
  return {};
}

Result<> LayerRecorder::finish() {
  TRY(flush());
  std::string end(1, static_cast<char>(Piece::kEnd));
  put_number(end, total_);
  TRY(zstd_->write(as_bytes(end)));
  return zstd_->finish();
}

Result<std::string> LayerTar::text(std::uint64_t bytes) {
  if (bytes > kNameBytesMax) return bad("a name is too long");
  std::string out(static_cast<std::size_t>(bytes), '\0');
  TRY_ASSIGN(std::size_t n, codec::read_full(record_, std::as_writable_bytes(std::span(out))));
  if (n != out.size()) return bad("truncated");
  return out;
}

Result<std::uint64_t> LayerTar::number() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 63; shift += 7) {
    std::byte byte{};
    TRY_ASSIGN(std::size_t n, record_.read({&byte, 1}));
    if (n == 0) return bad("truncated");
    value |= (std::to_integer<std::uint64_t>(byte) & 0x7f) << shift;
    if ((byte & std::byte{0x80}) == std::byte{}) return value;
  }
  return bad("a number is too long");
}

Result<> LayerTar::read_file_piece(bool same) {
  if (!same) {
    TRY_ASSIGN(std::uint64_t bytes, number());
    TRY_ASSIGN(path_, text(bytes));
    TRY_ASSIGN(inode_, number());
    file_.reset();
  } else if (path_.empty()) {
    return bad("no file before a part of the same");
  }
  TRY_ASSIGN(offset_, number());
  TRY_ASSIGN(rest_, number());
  if (offset_ >> 62 != 0 || rest_ >> 62 != 0) return bad("a part of a file is out of bounds");
  from_file_ = true;
  return {};
}

Result<> LayerTar::read_end() {
  TRY_ASSIGN(std::uint64_t total, number());
  if (total != total_) return bad(cat("ends after ", total_, " bytes of ", total));
  std::byte more{};
  TRY_ASSIGN(std::size_t n, record_.read({&more, 1}));
  if (n != 0) return bad("bytes after its end");
  ended_ = true;
  if (!checked_) return {};
  std::string digest = hash_.finish();
  if (digest != digest_) return fail(Code::kDataLoss, cat("layer ", digest_, ": a file of its directory was changed (it is ", digest, " now): remove the image and load or pull it again"));
  return {};
}

// To the next piece that has bytes, or the end.
Result<> LayerTar::next_piece() {
  if (!std::exchange(begun_, true)) {
    TRY_ASSIGN(std::string magic, text(kMagic.size()));
    if (magic != kMagic) return bad("unknown format");
  }
  while (rest_ == 0 && !ended_) {
    std::byte kind{};
    TRY_ASSIGN(std::size_t n, record_.read({&kind, 1}));
    if (n == 0) return bad("truncated");
    switch (static_cast<Piece>(kind)) {
      case Piece::kEnd: TRY(read_end()); break;
      case Piece::kLiteral: {
        TRY_ASSIGN(rest_, number());
        from_file_ = false;
        break;
      }
      case Piece::kFile:
      case Piece::kSameFile: TRY(read_file_piece(static_cast<Piece>(kind) == Piece::kSameFile)); break;
      default: return bad("unknown piece");
    }
  }
  return {};
}

Result<std::size_t> LayerTar::read_some(std::span<std::byte> into) {
  into = into.first(static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), rest_)));
  if (!from_file_) {
    TRY_ASSIGN(std::size_t n, record_.read(into));
    if (n == 0) return bad("truncated");
    return n;
  }
  if (!file_) {
    auto opened = open_file_(path_, inode_);
    if (!opened) return fail(Code::kDataLoss, cat("layer file ", path_.substr(0, 200), ": ", opened.error().message()));
    file_ = *std::move(opened);
  }
  ssize_t n = ::pread(file_.get(), into.data(), into.size(), static_cast<off_t>(offset_));
  if (n < 0) return fail_errno(cat("layer file ", path_.substr(0, 200)));
  if (n == 0) return fail(Code::kDataLoss, cat("layer file ", path_.substr(0, 200), ": shorter than it was"));
  offset_ += static_cast<std::uint64_t>(n);
  return static_cast<std::size_t>(n);
}

Result<std::size_t> LayerTar::read(std::span<std::byte> into) {
  std::size_t done = 0;
  if (!begun_) TRY(next_piece());
  // Looks ahead: whether these were the last bytes is known before they are given out.
  while (done < into.size() && !ended_) {
    TRY_ASSIGN(std::size_t n, read_some(into.subspan(done)));
    if (checked_) hash_.update(into.subspan(done, n));
    done += n;
    rest_ -= n;
    total_ += n;
    TRY(next_piece());
  }
  return done;
}

Result<std::uint64_t> LayerTar::skip(std::uint64_t count) {
  std::uint64_t done = 0;
  if (count > 0) checked_ = false;
  if (!begun_) TRY(next_piece());
  while (done < count && !ended_) {
    std::uint64_t n = std::min(count - done, rest_);
    if (from_file_) {
      offset_ += n;
    } else {
      TRY_ASSIGN(n, record_.skip(n));
      if (n == 0) return bad("truncated");
    }
    done += n;
    rest_ -= n;
    total_ += n;
    TRY(next_piece());
  }
  return done;
}

}  // namespace monopod::image
