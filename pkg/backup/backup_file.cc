#include "backup/backup_file.h"

#include <array>
#include <vector>

#include "backup/file.h"
#include "base/strings.h"
#include "codec/compress.h"
#include "codec/json.h"
#include "pki/digest.h"

namespace monopod::backup {
namespace {

constexpr std::uint32_t kMagic = 0x184D2A5B;
constexpr std::size_t kPieceBytes = 256U << 10;  // of the database, each step
constexpr std::size_t kHeadBytesMax = 4096;
constexpr std::size_t kTailBytes = 256;
constexpr std::int64_t kFormat = 1;
constexpr std::string_view kKind = "monopod-store-backup";

std::string format_number(std::uint32_t n) {
  std::string out;
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>((n >> shift) & 0xff);
  return out;
}
std::uint32_t parse_number(std::string_view bytes) {
  std::uint32_t n = 0;
  for (int i = 3; i >= 0; --i) n = (n << 8) | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
  return n;
}
std::string format_frame(std::string_view payload) { return format_number(kMagic) + format_number(static_cast<std::uint32_t>(payload.size())) + std::string(payload); }

std::string format_head(const Head& head) {
  return json::format(json::Object{{"kind", kKind}, {"format", kFormat}, {"created", head.created}, {"revision", head.revision}, {"version", head.version}});
}
std::string format_tail(const Info& info) {
  std::string text = json::format(json::Object{{"bytes", info.database_bytes}, {"sha256", info.sha256_hex}});
  text.resize(kTailBytes, ' ');
  return text;
}

// What stands around the database.
struct Frames {
  Info info{};
  std::string head_text{};
  std::int64_t begin = 0, end = 0;  // of the zstd frames
};

Result<std::string> read_at(const sys::Fd& fd, std::int64_t at, std::size_t size) {
  std::string bytes(size, '\0');
  FileSource source(fd, at, at + static_cast<std::int64_t>(size));
  TRY_ASSIGN(std::size_t got, codec::read_full(source, std::as_writable_bytes(std::span(bytes))));
  if (got < size) return fail(Code::kDataLoss, "cut short");
  return bytes;
}

Result<Frames> read_frames(const sys::Fd& fd) {
  Frames frames;
  TRY_ASSIGN(frames.info.file_bytes, file_size(fd));
  auto no_backup = [] { return fail(Code::kInvalidArgument, "not a backup of a monopod store"); };
  if (frames.info.file_bytes < 8) return no_backup();
  TRY_ASSIGN(std::string start, read_at(fd, 0, 8));
  std::uint32_t size = parse_number(std::string_view(start).substr(4));
  if (parse_number(start) != kMagic || size > kHeadBytesMax) return no_backup();
  TRY_ASSIGN(frames.head_text, read_at(fd, 8, size));
  Result<json::Value> head = json::parse(frames.head_text);
  if (!head || json::get_string(*head, {"kind"}) != kKind) return no_backup();
  if (std::int64_t format = json::get_int(*head, {"format"}); format != kFormat)
    return fail(Code::kFailedPrecondition, cat("backup format ", format, ", this monopod knows ", kFormat));
  frames.info.head = {.created = std::string(json::get_string(*head, {"created"})), .revision = json::get_int(*head, {"revision"}), .version = std::string(json::get_string(*head, {"version"}))};
  frames.begin = 8 + size;
  frames.end = frames.info.file_bytes - static_cast<std::int64_t>(8 + kTailBytes);
  if (frames.end < frames.begin) return fail(Code::kDataLoss, "cut short");
  TRY_ASSIGN(std::string tail, read_at(fd, frames.end, 8 + kTailBytes));
  if (parse_number(tail) != kMagic || parse_number(std::string_view(tail).substr(4)) != kTailBytes) return fail(Code::kDataLoss, "cut short: its last frame is missing");
  Result<json::Value> sums = json::parse(trim(std::string_view(tail).substr(8)));
  if (!sums) return fail(Code::kDataLoss, "its last frame is damaged");
  frames.info.database_bytes = json::get_int(*sums, {"bytes"}, -1);
  frames.info.sha256_hex = json::get_string(*sums, {"sha256"});
  return frames;
}

class HashingSource final : public codec::ByteSource {
 public:
  HashingSource(codec::ByteSource& input, pki::Sha256& hash) : input_(input), hash_(hash) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    TRY_ASSIGN(std::size_t n, input_.read(into));
    hash_.update(std::span<const std::byte>(into.first(n)));
    return n;
  }

 private:
  codec::ByteSource& input_;
  pki::Sha256& hash_;
};

Result<Info> decode_open(const sys::Fd& fd, codec::ByteSink* sink, const OnProgress& progress) {
  TRY_ASSIGN(Frames frames, read_frames(fd));
  FileSource file(fd, frames.begin, frames.end);
  pki::Sha256 hash;
  hash.update(format_frame(frames.head_text));
  HashingSource compressed(file, hash);
  auto plain = codec::make_decompressor(codec::Compression::kZstd, compressed, {.ratio_max = 100'000});
  std::vector<std::byte> piece(kPieceBytes);
  std::int64_t done = 0;
  for (;;) {
    Result<std::size_t> n = plain->read(piece);
    if (!n) return n.error().code() == Code::kInvalidArgument ? fail(Code::kDataLoss, "damaged: " + n.error().message()) : fail(n.error());
    if (*n == 0) break;
    std::span<const std::byte> bytes = std::span(piece).first(*n);
    done += static_cast<std::int64_t>(*n);
    if (done > frames.info.database_bytes) break;
    if (sink != nullptr) TRY(sink->write(bytes));
    if (progress) progress(done, frames.info.database_bytes);
  }
  if (done != frames.info.database_bytes || hash.finish_hex() != frames.info.sha256_hex) return fail(Code::kDataLoss, "damaged: the checksum does not match");
  return std::move(frames.info);
}

}  // namespace

struct Encoder::State {
  enum class Step { kHead, kDatabase, kTail, kEnd };
  State(sys::Fd f, std::int64_t size) : fd(std::move(f)), source(fd, 0, size) {}

  sys::Fd fd;
  FileSource source;
  codec::StringSink out;
  std::unique_ptr<codec::Compressor> compressor = codec::make_compressor(codec::Compression::kZstd, out);
  pki::Sha256 hash;
  std::vector<std::byte> piece = std::vector<std::byte>(kPieceBytes);
  Info info;
  Step step = Step::kHead;
};

Encoder::Encoder(std::unique_ptr<State> state) : state_(std::move(state)) {}
Encoder::~Encoder() = default;
const Info& Encoder::info() const { return state_->info; }

Result<std::unique_ptr<Encoder>> Encoder::open(const std::string& database_path, Head head) {
  TRY_ASSIGN(sys::Fd fd, open_file(database_path));
  TRY_ASSIGN(std::int64_t size, file_size(fd));
  auto state = std::make_unique<State>(std::move(fd), size);
  state->info.head = std::move(head);
  return std::unique_ptr<Encoder>(new Encoder(std::move(state)));
}

Result<std::string> Encoder::next() {
  State& s = *state_;
  std::string bytes;
  while (bytes.empty() && s.step != State::Step::kEnd) {
    switch (s.step) {
      case State::Step::kHead: {
        std::string text = format_head(s.info.head);
        bytes = format_frame(text);
        s.step = State::Step::kDatabase;
        s.hash.update(bytes);
        break;
      }
      case State::Step::kDatabase: {
        TRY_ASSIGN(std::size_t n, s.source.read(s.piece));
        std::span<const std::byte> piece = std::span(s.piece).first(n);
        s.info.database_bytes += static_cast<std::int64_t>(n);
        if (n > 0) {
          TRY(s.compressor->write(piece));
        } else {
          TRY(s.compressor->finish());
          s.step = State::Step::kTail;
        }
        bytes = std::exchange(s.out.text(), {});
        s.hash.update(bytes);
        break;
      }
      case State::Step::kTail:
        s.info.sha256_hex = s.hash.finish_hex();
        bytes = format_frame(format_tail(s.info));
        s.step = State::Step::kEnd;
        break;
      case State::Step::kEnd: break;
    }
  }
  s.info.file_bytes += static_cast<std::int64_t>(bytes.size());
  return bytes;
}

Result<Info> decode(const std::string& backup_path, codec::ByteSink* sink, const OnProgress& progress) {
  TRY_ASSIGN(sys::Fd fd, open_file(backup_path));
  Result<Info> info = decode_open(fd, sink, progress);
  if (!info) return fail(std::move(info).error().with(backup_path));
  return info;
}

Result<Info> read_info(const std::string& backup_path) {
  TRY_ASSIGN(sys::Fd fd, open_file(backup_path));
  Result<Frames> frames = read_frames(fd);
  if (!frames) return fail(std::move(frames).error().with(backup_path));
  return std::move(frames->info);
}

}  // namespace monopod::backup
