#include "image/tar.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/strings.h"
#include "image/limits.h"

namespace monopod::image {
namespace {

constexpr int kExtensionsMax = 8;  // headers before one entry

// Field offsets of a header block.
struct Field {
  std::size_t at, size;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12}, kMtime{136, 12}, kChecksum{148, 8},
    kType{156, 1}, kLink{157, 100}, kMagic{257, 8}, kMajor{329, 8}, kMinor{337, 8}, kPrefix{345, 155};

std::unexpected<Error> bad(std::string_view name, std::string_view why) {
  std::string shown;
  for (char c : name.substr(0, 200)) shown += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return fail(Code::kInvalidArgument, cat("tar: ", shown, shown.empty() ? "" : ": ", why));
}

std::string_view text_of(const char* header, Field f) {
  std::string_view all(header + f.at, f.size);
  return all.substr(0, std::min(all.find('\0'), all.size()));
}

// Octal text, or base-256 with the top bit set.
std::optional<std::int64_t> number_of(const char* header, Field f) {
  const auto* p = reinterpret_cast<const unsigned char*>(header + f.at);
  if ((p[0] & 0x80) != 0) {
    bool negative = (p[0] & 0x40) != 0;
    std::uint64_t value = negative ? ~std::uint64_t{0} : 0;
    for (std::size_t i = 0; i < f.size; ++i) {
      unsigned byte = i == 0 ? (p[0] & 0x3fU) | (negative ? 0xc0U : 0U) : p[i];
      if (i + 8 < f.size && byte != (negative ? 0xffU : 0U)) return std::nullopt;
      value = value << 8 | byte;
    }
    auto out = static_cast<std::int64_t>(value);
    if ((out < 0) != negative) return std::nullopt;
    return out;
  }
  std::string_view text = trim(text_of(header, f));
  if (text.empty()) return 0;
  std::uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '7' || value >> 60 != 0) return std::nullopt;
    value = value << 3 | static_cast<std::uint64_t>(c - '0');
  }
  return static_cast<std::int64_t>(value);
}

bool is_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

bool checksum_matches(const char* header) {
  auto want = number_of(header, kChecksum);
  if (!want) return false;
  std::int64_t as_unsigned = 0, as_signed = 0;
  for (std::size_t i = 0; i < kTarBlock; ++i) {
    bool blank = i >= kChecksum.at && i < kChecksum.at + kChecksum.size;
    char c = blank ? ' ' : header[i];
    as_unsigned += static_cast<unsigned char>(c);
    as_signed += static_cast<signed char>(c);
  }
  return *want == as_unsigned || *want == as_signed;
}

// "1234567890.123456789", possibly negative.
bool parse_pax_time(std::string_view text, std::int64_t& seconds, std::uint32_t& nanos) {
  auto [whole, fraction] = split_once(text, '.');
  auto value = parse_int<std::int64_t>(whole);
  if (!value) return false;
  std::uint32_t n = 0;
  if (fraction) {
    std::string digits(fraction->substr(0, 9));
    if (digits.find_first_not_of("0123456789") != std::string::npos) return false;
    digits.resize(9, '0');
    n = parse_int<std::uint32_t>(digits).value_or(0);
  }
  seconds = *value;
  nanos = n;
  if (text.starts_with('-') && n > 0) {
    seconds -= 1;
    nanos = 1'000'000'000 - n;
  }
  return true;
}

Result<> check_extents(const TarEntry& entry) {
  std::uint64_t end = 0, total = 0;
  for (const auto& e : entry.extents) {
    if (e.offset < end || e.offset > entry.size || e.bytes > entry.size - e.offset) return bad(entry.name, "sparse map is out of order or bounds");
    end = e.offset + e.bytes;
    total += e.bytes;
  }
  if (total != entry.data_bytes) return bad(entry.name, "sparse map does not match the data");
  return {};
}

}  // namespace

Result<> TarReader::pass_over(std::uint64_t bytes) {
  if (bytes == 0) return {};
  TRY_ASSIGN(std::uint64_t done, input_.skip(bytes));
  position_ += done;
  if (done != bytes) return bad("", "truncated");
  return {};
}

Result<bool> TarReader::read_block(std::span<std::byte, 512> block) {
  TRY_ASSIGN(std::size_t n, codec::read_full(input_, block));
  position_ += n;
  if (n == 0) return false;
  if (n != kTarBlock) return bad("", "truncated");
  return true;
}

Result<std::string> TarReader::read_text(std::uint64_t bytes) {
  if (bytes > kPaxBytesMax) return bad("", cat("extension header of ", bytes, " bytes exceeds ", kPaxBytesMax));
  std::string out(static_cast<std::size_t>(bytes), '\0');
  TRY_ASSIGN(std::size_t n, codec::read_full(input_, std::as_writable_bytes(std::span(out))));
  position_ += n;
  if (n != bytes) return bad("", "truncated");
  TRY(pass_over((kTarBlock - bytes % kTarBlock) % kTarBlock));
  return out;
}

// Records "<length> <key>=<value>\n".
Result<> TarReader::read_pax(std::uint64_t bytes, Records& into) {
  TRY_ASSIGN(std::string text, read_text(bytes));
  std::string_view rest = text;
  while (!rest.empty() && rest.front() != '\0') {
    std::size_t space = rest.find(' ');
    auto length = space == std::string_view::npos ? std::nullopt : parse_int<std::size_t>(rest.substr(0, space));
    if (!length || *length > rest.size() || *length < space + 3 || rest[*length - 1] != '\n') return bad("", "bad extended header");
    auto [key, value] = split_once(rest.substr(space + 1, *length - space - 2), '=');
    if (!value || key.empty()) return bad("", "bad extended header record");
    into.emplace_back(key, *value);
    rest.remove_prefix(*length);
  }
  return {};
}

Result<> TarReader::apply_pax(const Records& records, TarEntry& entry) {
  constexpr std::string_view kXattr = "SCHILY.xattr.";
  bool sparse_size = false;
  std::uint64_t real_size = 0;
  for (const auto& [key, value] : records) {
    bool ok = true;
    if (key == "path") entry.name = value;
    else if (key == "linkpath") entry.link = value;
    else if (key == "size") {
      auto n = parse_int<std::uint64_t>(value);
      ok = n && *n < std::uint64_t{1} << 62;
      if (ok) entry.size = entry.data_bytes = *n;
    } else if (key == "uid" || key == "gid") {
      auto n = parse_int<std::uint32_t>(value);
      ok = n.has_value();
      if (ok) (key == "uid" ? entry.uid : entry.gid) = *n;
    } else if (key == "mtime") {
      ok = parse_pax_time(value, entry.mtime_seconds, entry.mtime_nanos);
    } else if (key.starts_with(kXattr)) {
      entry.xattrs[key.substr(kXattr.size())] = value;
      if (entry.xattrs.size() > kXattrsMax) return bad(entry.name, "too many extended attributes");
    } else if (key == "GNU.sparse.major") {
      sparse_version_ = value;
      entry.sparse = true;
    } else if (key == "GNU.sparse.name") {
      entry.name = value;
    } else if (key == "GNU.sparse.realsize" || key == "GNU.sparse.size") {
      auto n = parse_int<std::uint64_t>(value);
      ok = n && *n < std::uint64_t{1} << 62;
      if (ok) real_size = *n;
      sparse_size = true;
    } else if (key == "GNU.sparse.map") {
      entry.sparse = true;
      auto parts = split(value, ',');
      ok = parts.size() % 2 == 0 && parts.size() / 2 <= kSparseExtentsMax;
      for (std::size_t i = 0; ok && i < parts.size(); i += 2) {
        auto offset = parse_int<std::uint64_t>(parts[i]), size = parse_int<std::uint64_t>(parts[i + 1]);
        ok = offset && size;
        if (ok) entry.extents.push_back({*offset, *size});
      }
    } else if (key == "GNU.sparse.offset" || key == "GNU.sparse.numbytes") {
      entry.sparse = true;
      auto n = parse_int<std::uint64_t>(value);
      ok = n.has_value() && entry.extents.size() < kSparseExtentsMax;
      if (!ok) return bad(entry.name, "bad sparse map");
      if (key == "GNU.sparse.offset") entry.extents.push_back({*n, 0});
      else if (entry.extents.empty()) ok = false;
      else entry.extents.back().bytes = *n;
    }
    if (!ok) return bad(entry.name, cat("bad extended header ", key));
  }
  if (sparse_size && entry.sparse) entry.size = real_size;
  return {};
}

// Old GNU format: four extents in the header, then blocks of 21.
Result<> TarReader::read_gnu_sparse(const char* header, TarEntry& entry) {
  auto read_extents = [&entry](const char* at, int count) -> Result<> {
    for (int i = 0; i < count; ++i) {
      const char* item = at + i * 24;
      if (item[0] == '\0') break;
      auto offset = number_of(item, {0, 12}), bytes = number_of(item, {12, 12});
      if (!offset || !bytes || *offset < 0 || *bytes < 0 || entry.extents.size() >= kSparseExtentsMax) return bad(entry.name, "bad sparse map");
      entry.extents.push_back({static_cast<std::uint64_t>(*offset), static_cast<std::uint64_t>(*bytes)});
    }
    return {};
  };
  entry.sparse = true;
  auto real = number_of(header, {483, 12});
  if (!real || *real < 0) return bad(entry.name, "bad sparse size");
  entry.size = static_cast<std::uint64_t>(*real);
  TRY(read_extents(header + 386, 4));
  bool extended = header[482] != 0;
  std::array<std::byte, kTarBlock> block;
  while (extended) {
    TRY_ASSIGN(bool more, read_block(block));
    if (!more) return bad(entry.name, "truncated");
    const char* text = reinterpret_cast<const char*>(block.data());
    TRY(read_extents(text, 21));
    extended = text[504] != 0;
  }
  return {};
}

// PAX sparse 1.0: the map stands before the data, in decimal lines, padded to a block.
Result<> TarReader::read_pax_sparse_map(TarEntry& entry) {
  std::string pending;
  std::uint64_t used = 0;
  auto next_number = [&]() -> Result<std::uint64_t> {
    for (;;) {
      if (std::size_t end = pending.find('\n'); end != std::string::npos) {
        auto n = parse_int<std::uint64_t>(std::string_view(pending).substr(0, end));
        if (!n) return bad(entry.name, "bad sparse map");
        pending.erase(0, end + 1);
        return *n;
      }
      if (pending.size() > 32 || used + kTarBlock > entry.data_bytes) return bad(entry.name, "bad sparse map");
      std::array<std::byte, kTarBlock> block;
      TRY_ASSIGN(bool more, read_block(block));
      if (!more) return bad(entry.name, "truncated");
      used += kTarBlock;
      pending.append(as_text(block));
    }
  };
  TRY_ASSIGN(std::uint64_t count, next_number());
  if (count > kSparseExtentsMax) return bad(entry.name, "sparse map is too long");
  for (std::uint64_t i = 0; i < count; ++i) {
    TRY_ASSIGN(std::uint64_t offset, next_number());
    TRY_ASSIGN(std::uint64_t bytes, next_number());
    entry.extents.push_back({offset, bytes});
  }
  entry.data_bytes -= used;
  return {};
}

Result<bool> TarReader::finish() {
  std::array<std::byte, 16384> buffer;
  for (;;) {
    TRY_ASSIGN(std::size_t n, input_.read(buffer));
    if (n == 0) return false;
    if (!is_zero(std::span(buffer).first(n))) return bad("", "bytes after the end of the archive");
  }
}

Result<bool> TarReader::next(TarEntry& entry) {
  TRY(pass_over(rest_));
  TRY_ASSIGN(std::uint64_t padded, input_.skip(padding_));
  position_ += padded;
  const bool cut = padded != padding_;
  rest_ = padding_ = 0;
  if (cut) return options_.may_lack_padding ? Result<bool>(false) : bad("", "truncated");
  Records records = global_;
  std::optional<std::string> long_name, long_link;
  std::array<std::byte, kTarBlock> block;
  for (int extensions = 0;; ++extensions) {
    TRY_ASSIGN(bool more, read_block(block));
    if (!more || is_zero(block)) {
      if (extensions > 0) return bad("", "truncated after an extension header");
      return more ? finish() : Result<bool>(false);
    }
    if (extensions > kExtensionsMax) return bad("", "too many extension headers for one entry");
    const char* header = reinterpret_cast<const char*>(block.data());
    if (!checksum_matches(header)) return bad("", "not a tar header (checksum)");
    auto size = number_of(header, kSize);
    if (!size || *size < 0 || *size >= std::int64_t{1} << 62) return bad(text_of(header, kName), "bad size");
    auto bytes = static_cast<std::uint64_t>(*size);
    const char type = header[kType.at];
    if (type == 'x') {
      TRY(read_pax(bytes, records));
      continue;
    }
    if (type == 'g') {
      TRY(read_pax(bytes, global_));
      if (global_.size() > kXattrsMax) return bad("", "too many global records");
      records.insert(records.begin(), global_.begin(), global_.end());
      continue;
    }
    if (type == 'L' || type == 'K') {
      TRY_ASSIGN(std::string text, read_text(bytes));
      text.resize(std::min(text.find('\0'), text.size()));
      (type == 'L' ? long_name : long_link) = std::move(text);
      continue;
    }
    if (type == 'V') {  // volume label: no file
      TRY(pass_over(bytes + (kTarBlock - bytes % kTarBlock) % kTarBlock));
      continue;
    }
    entry = TarEntry();
    sparse_version_.clear();
    entry.name = text_of(header, kName);
    if (std::string_view(header + kMagic.at, 6) == std::string_view("ustar\0", 6)) {
      if (std::string_view prefix = text_of(header, kPrefix); !prefix.empty()) entry.name = cat(prefix, "/", entry.name);
    }
    entry.link = text_of(header, kLink);
    if (long_name) entry.name = *long_name;
    if (long_link) entry.link = *long_link;
    auto mode = number_of(header, kMode), uid = number_of(header, kUid), gid = number_of(header, kGid), mtime = number_of(header, kMtime);
    auto major = number_of(header, kMajor), minor = number_of(header, kMinor);
    if (!mode || !uid || !gid || !mtime || *uid < 0 || *gid < 0 || *uid > UINT32_MAX || *gid > UINT32_MAX) return bad(entry.name, "bad number in the header");
    entry.mode = static_cast<std::uint32_t>(*mode) & 07777;
    entry.uid = static_cast<std::uint32_t>(*uid);
    entry.gid = static_cast<std::uint32_t>(*gid);
    entry.mtime_seconds = *mtime;
    entry.size = entry.data_bytes = bytes;
    switch (type) {
      case '\0':
      case '0':
      case '7': entry.type = entry.name.ends_with('/') ? TarEntry::Type::kDirectory : TarEntry::Type::kFile; break;
      case 'S':
        entry.type = TarEntry::Type::kFile;
        TRY(read_gnu_sparse(header, entry));
        break;
      case '1': entry.type = TarEntry::Type::kHardLink; break;
      case '2': entry.type = TarEntry::Type::kSymlink; break;
      case '3': entry.type = TarEntry::Type::kCharDevice; break;
      case '4': entry.type = TarEntry::Type::kBlockDevice; break;
      case '5': entry.type = TarEntry::Type::kDirectory; break;
      case '6': entry.type = TarEntry::Type::kFifo; break;
      default: return bad(entry.name, cat("unknown entry type ", static_cast<int>(static_cast<unsigned char>(type))));
    }
    if (entry.type == TarEntry::Type::kCharDevice || entry.type == TarEntry::Type::kBlockDevice) {
      if (!major || !minor || *major < 0 || *minor < 0 || *major > 0xfff || *minor > 0xfffff) return bad(entry.name, "bad device number");
      entry.device_major = static_cast<std::uint32_t>(*major);
      entry.device_minor = static_cast<std::uint32_t>(*minor);
    }
    TRY(apply_pax(records, entry));
    if (entry.type != TarEntry::Type::kFile) {  // such entries carry no data, whatever size a header states
      entry.size = entry.data_bytes = 0;
      entry.sparse = false;
    }
    padding_ = (kTarBlock - entry.data_bytes % kTarBlock) % kTarBlock;
    if (entry.sparse && sparse_version_ == "1") TRY(read_pax_sparse_map(entry));
    rest_ = entry.data_bytes;
    if (entry.sparse) TRY(check_extents(entry));
    for (std::string_view text : {std::string_view(entry.name), std::string_view(entry.link)}) {
      if (text.size() > kNameBytesMax) return bad(text, cat("name of ", text.size(), " bytes exceeds ", kNameBytesMax));
      if (text.find('\0') != std::string_view::npos) return bad(text, "name contains a NUL byte");
    }
    return true;
  }
}

Result<std::size_t> TarReader::read(std::span<std::byte> into) {
  std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), rest_));
  if (want == 0) return 0;
  TRY_ASSIGN(std::size_t n, input_.read(into.first(want)));
  if (n == 0) return bad("", "truncated");
  position_ += n;
  rest_ -= n;
  return n;
}

}  // namespace monopod::image
