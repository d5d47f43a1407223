#include "proxy/codec/hpack.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace monopod::proxy {
namespace {

enum class Keep : std::uint8_t { kYes, kNo, kNever };

struct StaticField {
  std::string_view name, value{};
  Keep keep = Keep::kYes;  // of literals with its name: not where values are rarely seen again
};

// RFC 7541 appendix A; index 1 comes first.
constexpr std::array<StaticField, 61> kStatic{{
    {":authority"}, {":method", "GET"}, {":method", "POST"}, {":path", "/", Keep::kNo}, {":path", "/index.html", Keep::kNo}, {":scheme", "http"}, {":scheme", "https"},
    {":status", "200"}, {":status", "204"}, {":status", "206"}, {":status", "304"}, {":status", "400"}, {":status", "404"}, {":status", "500"},
    {"accept-charset"}, {"accept-encoding", "gzip, deflate"}, {"accept-language"}, {"accept-ranges"}, {"accept"}, {"access-control-allow-origin"}, {"age", {}, Keep::kNo}, {"allow"},
    {"authorization", {}, Keep::kNever}, {"cache-control"}, {"content-disposition"}, {"content-encoding"}, {"content-language"}, {"content-length", {}, Keep::kNo}, {"content-location"},
    {"content-range", {}, Keep::kNo}, {"content-type"}, {"cookie"}, {"date"}, {"etag", {}, Keep::kNo}, {"expect"}, {"expires"}, {"from"}, {"host"}, {"if-match", {}, Keep::kNo},
    {"if-modified-since", {}, Keep::kNo}, {"if-none-match", {}, Keep::kNo}, {"if-range", {}, Keep::kNo}, {"if-unmodified-since", {}, Keep::kNo}, {"last-modified"}, {"link"},
    {"location", {}, Keep::kNo}, {"max-forwards"}, {"proxy-authenticate"}, {"proxy-authorization", {}, Keep::kNever}, {"range", {}, Keep::kNo}, {"referer"}, {"refresh"}, {"retry-after"},
    {"server"}, {"set-cookie", {}, Keep::kNo}, {"strict-transport-security"}, {"transfer-encoding"}, {"user-agent"}, {"vary"}, {"via"}, {"www-authenticate"},
}};

constexpr std::size_t kCookieBytesMin = 20;  // a shorter one could be guessed through what its block's size tells (RFC 7541 section 7.1)

// --- Hashes: eight bytes a step.
// Little-endian. size: 4 or 8.
constexpr std::uint64_t load(const char* at, std::size_t size) {
  std::uint64_t out = 0;
  if (!std::is_constant_evaluated() && std::endian::native == std::endian::little) {
    if (size == 8) std::memcpy(&out, at, 8);
    else std::memcpy(&out, at, 4);
    return out;
  }
  for (std::size_t i = 0; i < size; ++i) out |= static_cast<std::uint64_t>(static_cast<unsigned char>(at[i])) << (8 * i);
  return out;
}

constexpr std::uint64_t mix(std::uint64_t x) {
  x *= 0x9e3779b97f4a7c15U;
  return x ^ x >> 29U;
}

constexpr std::uint64_t hash(std::string_view text) {
  const char* at = text.data();
  std::size_t size = text.size();
  std::uint64_t h = size;
  if (size >= 8) {
    for (; size > 8; at += 8, size -= 8) h = mix(h ^ load(at, 8));
    return mix(h ^ load(text.data() + text.size() - 8, 8));
  }
  if (size >= 4) return mix(h ^ load(at, 4) << 4U ^ load(at + size - 4, 4) << 32U);
  for (std::size_t i = 0; i < size; ++i) h = h << 8U | static_cast<unsigned char>(at[i]);
  return mix(h);
}

bool same(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  const char *x = a.data(), *y = b.data();
  std::size_t size = a.size();
  if (size >= 8) {
    std::uint64_t difference = load(x + size - 8, 8) ^ load(y + size - 8, 8);
    for (; size > 8; x += 8, y += 8, size -= 8) difference |= load(x, 8) ^ load(y, 8);
    return difference == 0;
  }
  if (size >= 4) return ((load(x, 4) ^ load(y, 4)) | (load(x + size - 4, 4) ^ load(y + size - 4, 4))) == 0;
  for (std::size_t i = 0; i < size; ++i)
    if (x[i] != y[i]) return false;
  return true;
}

// The first entry of each name, at its hash's place or behind.
constexpr std::size_t kPlaces = 256;
constexpr std::array<std::uint8_t, kPlaces> kStaticNames = [] {
  std::array<std::uint8_t, kPlaces> out{};
  for (std::size_t i = 0; i < kStatic.size(); ++i) {
    if (i > 0 && kStatic[i].name == kStatic[i - 1].name) continue;
    std::size_t place = hash(kStatic[i].name) % kPlaces;
    while (out[place] != 0) place = (place + 1) % kPlaces;
    out[place] = static_cast<std::uint8_t>(i + 1);
  }
  return out;
}();

// Of its name's first entry; 0: none.
std::uint32_t find_static(std::string_view name, std::uint64_t name_hash) {
  for (std::size_t place = name_hash % kPlaces; kStaticNames[place] != 0; place = (place + 1) % kPlaces)
    if (same(kStatic[kStaticNames[place] - 1U].name, name)) return kStaticNames[place];
  return 0;
}

// How many entries from there on have values, and the same name.
constexpr std::array<std::uint8_t, kStatic.size()> kStaticValues = [] {
  std::array<std::uint8_t, kStatic.size()> out{};
  for (std::size_t i = 0; i < kStatic.size(); ++i)
    for (std::size_t k = i; k < kStatic.size() && kStatic[k].name == kStatic[i].name && !kStatic[k].value.empty(); ++k) ++out[i];
  return out;
}();

// --- Huffman's code, which is canonical: lengths say all. Symbol 256 is EOS.
constexpr std::array<std::uint8_t, 257> kCodeBits{
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6,  10, 10, 12, 13, 6,  8,  11, 10, 10, 8,
    11, 8,  6,  6,  6,  5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8,  15, 6,  12, 10, 13, 6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
    7,  7,  8,  7,  8,  13, 19, 13, 14, 6,  15, 5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,  6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7,  15, 11, 14, 13, 28, 20,
    22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24,
    21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27,
    24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30};
constexpr unsigned kCodeBitsMax = 30;
constexpr std::uint16_t kEos = 256;

struct Code {
  std::uint8_t symbol = 0, bits = 0;  // bits 0: longer than eight
};

struct Huffman {
  std::array<Code, 256> short_codes{};                    // by the next eight bits
  std::array<std::uint16_t, 257> by_code{};               // symbols in the order of their codes
  std::array<std::uint64_t, kCodeBitsMax + 2> first{};    // code of each length, from bit 32 down
  std::array<std::uint16_t, kCodeBitsMax + 2> place{};    // of that code in by_code
};

constexpr Huffman kHuffman = [] {
  Huffman out;
  std::uint64_t code = 0;  // from bit 32 down
  std::uint16_t at = 0;
  for (unsigned bits = 1; bits <= kCodeBitsMax; ++bits) {
    out.first[bits] = code;
    out.place[bits] = at;
    for (std::uint16_t symbol = 0; symbol < kCodeBits.size(); ++symbol) {
      if (kCodeBits[symbol] != bits) continue;
      out.by_code[at++] = symbol;
      for (unsigned i = 0; bits <= 8 && i < 1U << (8 - bits); ++i) out.short_codes[(code >> 24U) + i] = {static_cast<std::uint8_t>(symbol), static_cast<std::uint8_t>(bits)};
      code += std::uint64_t{1} << (32 - bits);
    }
  }
  out.first[kCodeBitsMax + 1] = code;
  return out;
}();
static_assert(kHuffman.first[kCodeBitsMax + 1] == std::uint64_t{1} << 32U, "every string of bits begins with one code");

// The code that begins bits (from bit 64 down), of more than eight.
struct LongCode {
  std::uint16_t symbol;
  unsigned bits;
};
LongCode find_long_code(std::uint64_t bits) {
  std::uint64_t top = bits >> 32U;
  unsigned length = 9;
  while (top >= kHuffman.first[length + 1]) ++length;
  return {kHuffman.by_code[kHuffman.place[length] + ((top - kHuffman.first[length]) >> (32 - length))], length};
}

// into: room for 8 bytes of each 5. Null: no code, or wrong padding; else the end of what was written.
char* decode_huffman(std::string_view bytes, char* into) {
  const char* at = bytes.data();
  const char* end = at + bytes.size();
  std::uint64_t bits = 0;  // from bit 64 down
  unsigned have = 0;
  for (;;) {
    if (end - at >= 8) {
      bits |= std::byteswap(load(at, 8)) >> have;
      at += (63 - have) / 8;
      have |= 56U;
    } else {
      for (; have <= 56 && at != end; have += 8) bits |= static_cast<std::uint64_t>(static_cast<unsigned char>(*at++)) << (56 - have);
    }
    Code code = kHuffman.short_codes[bits >> 56U];
    unsigned size = code.bits;
    for (; size != 0 && have >= 16; code = kHuffman.short_codes[bits >> 56U], size = code.bits) {
      *into++ = static_cast<char>(code.symbol);
      bits <<= size;
      have -= size;
    }
    if (size == 0 && have < kCodeBitsMax && at != end) continue;
    if (size == 0) {
      LongCode found = find_long_code(bits);
      if (found.symbol == kEos && found.bits <= have) return nullptr;
      code.symbol = static_cast<std::uint8_t>(found.symbol);
      size = found.bits;
    }
    if (size > have) break;
    *into++ = static_cast<char>(code.symbol);
    bits <<= size;
    have -= size;
  }
  bool ones = have == 0 || bits >> (64 - have) == (std::uint64_t{1} << have) - 1;
  return have < 8 && ones ? into : nullptr;
}

void append_number(std::string& out, unsigned prefix_bits, unsigned kind, std::size_t n) {
  std::size_t most = (std::size_t{1} << prefix_bits) - 1;
  if (n < most) {
    out.push_back(static_cast<char>(kind | n));
    return;
  }
  out.push_back(static_cast<char>(kind | most));
  for (n -= most; n >= 0x80; n >>= 7U) out.push_back(static_cast<char>(0x80U | (n & 0x7fU)));
  out.push_back(static_cast<char>(n));
}

void append_text(std::string& out, std::string_view text) {
  append_number(out, 7, 0, text.size());
  out.append(text);
}

Keep keeping(std::string_view name, std::string_view value, std::uint32_t static_index) {
  if (static_index != 0 && kStatic[static_index - 1].keep != Keep::kYes) return kStatic[static_index - 1].keep;
  if (name == "cookie" && value.size() < kCookieBytesMin) return Keep::kNever;
  bool large = name.size() + value.size() + kHpackEntryOverhead > kHpackTableBytesMax / 4 * 3;
  return large ? Keep::kNo : Keep::kYes;
}

}  // namespace

void HpackTable::limit(std::size_t bytes) {
  limit_ = std::min(bytes, kHpackTableBytesMax);
  forget(0);
}

void HpackTable::forget(std::size_t room) {
  while (count_ > 0 && bytes_ + room > limit_) {
    const Entry& oldest = store_->entries[(newest_ - (count_ - 1)) % kEntries];
    bytes_ -= oldest.name_size + oldest.value_size + kHpackEntryOverhead;
    --count_;
  }
}

void HpackTable::compact() {
  std::size_t begin = count_ == 0 ? end_ : store_->entries[(newest_ - (count_ - 1)) % kEntries].at;
  std::memmove(store_->text.data(), store_->text.data() + begin, end_ - begin);
  end_ -= begin;
  for (std::size_t i = 0; i < count_; ++i) store_->entries[(newest_ - i) % kEntries].at -= static_cast<std::uint32_t>(begin);
}

void HpackTable::insert(std::string_view name, std::string_view value) {
  std::size_t size = name.size() + value.size();
  forget(size + kHpackEntryOverhead);
  if (size + kHpackEntryOverhead > limit_) return;
  if (!store_) store_.reset(new Store);  // not initialised
  std::string kept;
  if (end_ + size > store_->text.size()) {
    kept = name;
    name = kept;
    compact();
  }
  Entry& e = store_->entries[++newest_ % kEntries];
  e = {static_cast<std::uint32_t>(end_), static_cast<std::uint16_t>(name.size()), static_cast<std::uint16_t>(value.size())};
  std::copy_n(name.data(), name.size(), store_->text.data() + end_);
  std::copy_n(value.data(), value.size(), store_->text.data() + end_ + name.size());
  end_ += size;
  bytes_ += size + kHpackEntryOverhead;
  ++count_;
}

bool HpackDecoder::number(unsigned prefix_bits, std::uint32_t& out) {
  std::uint32_t most = (1U << prefix_bits) - 1;
  std::uint64_t n = static_cast<unsigned char>(rest_[0]) & most;
  rest_.remove_prefix(1);
  bool goes_on = n == most;
  for (unsigned shift = 0; goes_on; shift += 7) {
    if (rest_.empty() || shift > 28) return false;
    auto byte = static_cast<unsigned char>(rest_[0]);
    rest_.remove_prefix(1);
    n += static_cast<std::uint64_t>(byte & 0x7fU) << shift;
    goes_on = byte >= 0x80;
  }
  out = static_cast<std::uint32_t>(n);
  return n <= 0xffffffffU;
}

bool HpackDecoder::text(std::string& room, std::string_view& out) {
  if (rest_.empty()) return false;
  bool coded = (static_cast<unsigned char>(rest_[0]) & 0x80U) != 0;
  std::uint32_t size = 0;
  if (!number(7, size) || size > rest_.size()) return false;
  out = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return !coded || decode(room, out);
}

bool HpackDecoder::decode(std::string& room, std::string_view& out) {
  std::string_view coded = out;
  Known* known = nullptr;
  if (coded.size() <= Known{}.coded.size()) {
    if (!known_) known_ = std::make_unique<std::array<Known, 16>>();
    known = &(*known_)[hash(coded) / 16 % 8 + (&room == &name_ ? 0 : 8)];
    if (same({known->coded.data(), known->coded_size}, coded)) {
      out = {known->text.data(), known->size};
      return true;
    }
  }
  room.clear();
  if (!append_huffman_decoded(coded, room)) return false;
  out = room;
  if (known == nullptr) return true;
  known->coded_size = static_cast<std::uint8_t>(coded.size());
  known->size = static_cast<std::uint8_t>(room.size());
  std::copy_n(coded.data(), coded.size(), known->coded.data());
  std::copy_n(room.data(), room.size(), known->text.data());
  return true;
}

bool HpackDecoder::find(std::uint32_t index, HpackField& out) const {
  if (index == 0) return false;
  if (index <= kStatic.size()) {
    out.name = kStatic[index - 1].name;
    out.value = kStatic[index - 1].value;
    return true;
  }
  if (index - kStatic.size() > table_.count()) return false;
  HpackField found = table_.at(index - kStatic.size() - 1);
  out.name = found.name;
  out.value = found.value;
  return true;
}

bool HpackDecoder::literal(unsigned prefix_bits, HpackField& field) {
  std::uint32_t index = 0;
  if (!number(prefix_bits, index)) return false;
  if (index == 0 ? !text(name_, field.name) : !find(index, field)) return false;
  return text(value_, field.value);
}

bool HpackDecoder::resize() {
  std::uint32_t size = 0;
  if (any_ || !number(5, size) || size > kHpackTableBytesMax) return false;
  table_.limit(size);
  return true;
}

HpackDecoder::Step HpackDecoder::next(HpackField& field) {
  for (;;) {
    if (rest_.empty()) return Step::kEnd;
    auto first = static_cast<unsigned char>(rest_[0]);
    if ((first & 0xe0U) == 0x20) {
      if (!resize()) return Step::kBad;
      continue;
    }
    any_ = true;
    field.never_indexed = (first & 0xf0U) == 0x10;
    if ((first & 0x80U) != 0) {
      std::uint32_t index = 0;
      return number(7, index) && find(index, field) ? Step::kField : Step::kBad;
    }
    if ((first & 0x40U) == 0) return literal(4, field) ? Step::kField : Step::kBad;
    if (!literal(6, field)) return Step::kBad;
    std::uint32_t before = table_.newest();
    table_.insert(field.name, field.value);
    if (table_.newest() != before) {  // the name may have been moved
      HpackField kept = table_.at(0);
      field.name = kept.name;
      field.value = kept.value;
    }
    return Step::kField;
  }
}

void HpackEncoder::limit(std::uint32_t bytes) {
  limit_ = std::min<std::size_t>(bytes, kHpackTableBytesMax);
  least_ = std::min(least_, limit_);
}

void HpackEncoder::begin(std::string& out) {
  if (least_ == table_.limit() && limit_ == table_.limit()) return;
  if (least_ < limit_) append_number(out, 5, 0x20, least_);
  table_.limit(least_);
  append_number(out, 5, 0x20, limit_);
  table_.limit(limit_);
  least_ = limit_;
}

void HpackEncoder::add(std::string& out, std::string_view name, std::string_view value, bool secret) {
  std::uint64_t name_hash = hash(name);
  std::uint32_t fixed = find_static(name, name_hash);
  for (std::uint32_t i = fixed; fixed != 0 && !secret && i < fixed + kStaticValues[fixed - 1]; ++i)
    if (same(kStatic[i - 1].value, value)) return out.push_back(static_cast<char>(0x80U | i));
  Keep keep = secret ? Keep::kNever : keeping(name, value, fixed);
  std::uint64_t pair_hash = mix(name_hash ^ hash(value) * 3);
  std::uint32_t& of_pair = pairs_[(pair_hash >> 8U) % pairs_.size()];
  if (keep == Keep::kYes && table_.is_live(of_pair)) {
    HpackField there = table_.of(of_pair);
    if (same(there.value, value) && same(there.name, name)) return append_number(out, 7, 0x80, kStatic.size() + 1 + (table_.newest() - of_pair));
  }
  std::size_t index = fixed;
  std::uint32_t& of_name = names_[(name_hash >> 8U) % names_.size()];
  if (index == 0 && table_.is_live(of_name) && same(table_.of(of_name).name, name)) index = kStatic.size() + 1 + (table_.newest() - of_name);
  if (keep == Keep::kYes) append_number(out, 6, 0x40, index);
  else append_number(out, 4, keep == Keep::kNever ? 0x10 : 0, index);
  if (index == 0) append_text(out, name);
  append_text(out, value);
  if (keep != Keep::kYes) return;
  std::uint32_t before = table_.newest();
  table_.insert(name, value);
  if (table_.newest() == before) return;
  of_pair = table_.newest();
  if (fixed == 0) of_name = table_.newest();
}

bool append_huffman_decoded(std::string_view bytes, std::string& out) {
  std::size_t before = out.size();
  bool good = false;
  out.resize_and_overwrite(before + bytes.size() * 8 / 5 + 1, [&](char* text, std::size_t) {
    char* end = decode_huffman(bytes, text + before);
    good = end != nullptr;
    return good ? static_cast<std::size_t>(end - text) : before;
  });
  return good;
}

}  // namespace monopod::proxy
