#include <array>
#include <cstdio>
#include <cstring>

#include "base/strings.h"
#include "image/tar.h"

namespace monopod::image {
namespace {

constexpr std::uint64_t kOctal12Max = 077777777777ULL;
constexpr std::uint64_t kOctal8Max = 07777777ULL;

void put_octal(char* at, std::size_t size, std::uint64_t value) {
  std::snprintf(at, size, "%0*llo", static_cast<int>(size - 1), static_cast<unsigned long long>(value));
}

std::string pax_record(std::string_view key, std::string_view value) {
  std::size_t body = key.size() + value.size() + 3;  // space, '=', newline
  std::size_t length = body;
  while (cat(length).size() + body != length) length = cat(length).size() + body;
  return cat(length, " ", key, "=", value, "\n");
}

char type_flag(TarEntry::Type type) {
  switch (type) {
    case TarEntry::Type::kFile: return '0';
    case TarEntry::Type::kHardLink: return '1';
    case TarEntry::Type::kSymlink: return '2';
    case TarEntry::Type::kCharDevice: return '3';
    case TarEntry::Type::kBlockDevice: return '4';
    case TarEntry::Type::kDirectory: return '5';
    case TarEntry::Type::kFifo: return '6';
  }
  return '0';
}

std::array<char, kTarBlock> make_header(const TarEntry& entry, char type, std::uint64_t size) {
  std::array<char, kTarBlock> h{};
  std::memcpy(h.data(), entry.name.data(), std::min<std::size_t>(entry.name.size(), 100));
  put_octal(h.data() + 100, 8, entry.mode);
  put_octal(h.data() + 108, 8, std::min<std::uint64_t>(entry.uid, kOctal8Max));
  put_octal(h.data() + 116, 8, std::min<std::uint64_t>(entry.gid, kOctal8Max));
  put_octal(h.data() + 124, 12, std::min(size, kOctal12Max));
  put_octal(h.data() + 136, 12, entry.mtime_seconds < 0 ? 0 : static_cast<std::uint64_t>(entry.mtime_seconds));
  h[156] = type;
  std::memcpy(h.data() + 157, entry.link.data(), std::min<std::size_t>(entry.link.size(), 100));
  std::memcpy(h.data() + 257, "ustar\00000", 8);
  put_octal(h.data() + 329, 8, entry.device_major);
  put_octal(h.data() + 337, 8, entry.device_minor);
  std::memset(h.data() + 148, ' ', 8);
  unsigned sum = 0;
  for (char c : h) sum += static_cast<unsigned char>(c);
  put_octal(h.data() + 148, 7, sum);
  return h;
}

}  // namespace

Result<> TarWriter::pad() {
  if (rest_ != 0) return fail(Code::kInternal, "tar: entry is short of its size");
  static constexpr std::array<std::byte, kTarBlock> kZeros{};
  Result<> done = output_.write(std::span(kZeros).first(static_cast<std::size_t>(padding_)));
  padding_ = 0;
  return done;
}

Result<> TarWriter::begin(const TarEntry& entry) {
  TRY(pad());
  std::string pax;
  if (entry.name.size() > 100) pax += pax_record("path", entry.name);
  if (entry.link.size() > 100) pax += pax_record("linkpath", entry.link);
  if (entry.data_bytes > kOctal12Max) pax += pax_record("size", cat(entry.data_bytes));
  if (entry.uid > kOctal8Max) pax += pax_record("uid", cat(entry.uid));
  if (entry.gid > kOctal8Max) pax += pax_record("gid", cat(entry.gid));
  for (const auto& [name, value] : entry.xattrs) pax += pax_record("SCHILY.xattr." + name, value);
  if (!pax.empty()) {
    TarEntry extension;
    extension.name = "pax";
    extension.mode = 0644;
    auto header = make_header(extension, 'x', pax.size());
    TRY(output_.write(std::as_bytes(std::span(header))));
    pax.resize((pax.size() + kTarBlock - 1) / kTarBlock * kTarBlock, '\0');
    TRY(output_.write(as_bytes(pax)));
  }
  auto header = make_header(entry, type_flag(entry.type), entry.data_bytes);
  rest_ = entry.data_bytes;
  padding_ = (kTarBlock - rest_ % kTarBlock) % kTarBlock;
  return output_.write(std::as_bytes(std::span(header)));
}

Result<> TarWriter::write(std::span<const std::byte> bytes) {
  if (bytes.size() > rest_) return fail(Code::kInternal, "tar: more data than the entry's size");
  rest_ -= bytes.size();
  return output_.write(bytes);
}

Result<> TarWriter::finish() {
  TRY(pad());
  static constexpr std::array<std::byte, 2 * kTarBlock> kEnd{};
  return output_.write(kEnd);
}

}  // namespace monopod::image
