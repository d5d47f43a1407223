// HPACK (RFC 7541): fields of HTTP/2 to blocks, and back. No I/O; one coder for each direction of a connection, for blocks in the order of the wire.
//
//   HpackDecoder: begin(block) ─► next(field)... ─► kEnd        HpackEncoder: begin(out) ─► add(out, name, value)...
//
// Both tables are of 4,096 bytes at most (the default, which we neither raise nor let a peer raise), taken with the first field that is kept. Strings
// leave as they are: a Huffman code saves a quarter of what is sent once, and costs both ends more than all the rest of a block.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace monopod::proxy {

inline constexpr std::size_t kHpackTableBytesMax = 4096;
inline constexpr std::size_t kHpackEntryOverhead = 32;  // RFC 7541 section 4.1

struct HpackField {
  std::string_view name{}, value{};
  bool never_indexed = false;  // whoever passes it on must not keep it in a table either (RFC 7541 section 7.1.3)
};

// The dynamic table: what it forgets first came first.
class HpackTable {
 public:
  std::size_t count() const { return count_; }
  // 0: the newest. Valid until the next insert().
  HpackField at(std::size_t index) const { return of(newest_ - static_cast<std::uint32_t>(index)); }
  // Makes room for what is to come. bytes <= kHpackTableBytesMax.
  void limit(std::size_t bytes);
  std::size_t limit() const { return limit_; }
  // name may lie in the table. One that is larger than the table empties it.
  void insert(std::string_view name, std::string_view value);

  // An entry's number is its for ever; 0 is nobody's before 2^32 insertions, and then nobody's that is_live() is asked about.
  std::uint32_t newest() const { return newest_; }
  bool is_live(std::uint32_t number) const { return newest_ - number < count_; }
  HpackField of(std::uint32_t number) const {
    const Entry& e = store_->entries[number % kEntries];
    return {{store_->text.data() + e.at, e.name_size}, {store_->text.data() + e.at + e.name_size, e.value_size}};
  }

 private:
  static constexpr std::size_t kEntries = kHpackTableBytesMax / kHpackEntryOverhead;
  struct Entry {
    std::uint32_t at = 0;
    std::uint16_t name_size = 0, value_size = 0;
  };
  struct Store {
    std::array<Entry, kEntries> entries;
    std::array<char, 2 * kHpackTableBytesMax> text;  // of all entries, one behind the other; moved down where its end is reached
  };
  void forget(std::size_t room);
  void compact();

  std::unique_ptr<Store> store_;
  std::uint32_t newest_ = 0;
  std::size_t count_ = 0, bytes_ = 0, limit_ = kHpackTableBytesMax, end_ = 0;
};

class HpackDecoder {
 public:
  // block: whole, and outliving the calls of next().
  void begin(std::string_view block) {
    rest_ = block;
    any_ = false;
  }
  // kBad: COMPRESSION_ERROR, and nothing can be decoded any more. field: valid until the next call.
  enum class Step : std::uint8_t { kField, kEnd, kBad };
  Step next(HpackField& field);

 private:
  bool number(unsigned prefix_bits, std::uint32_t& out);
  bool text(std::string& room, std::string_view& out);
  bool decode(std::string& room, std::string_view& out);
  bool find(std::uint32_t index, HpackField& out) const;
  bool literal(unsigned prefix_bits, HpackField& field);
  bool resize();

  std::string_view rest_{};
  bool any_ = false;  // a field of this block
  HpackTable table_;
  std::string name_, value_;
  // Codes that came before: who keeps no table sends the same ones again and again. Names' and values' do not mix, as both are handed out at once.
  struct Known {
    std::uint8_t coded_size = 0, size = 0;
    std::array<char, 48> coded{};
    std::array<char, 77> text{};  // 48 bytes of codes of five bits
  };
  std::unique_ptr<std::array<Known, 16>> known_;
};

class HpackEncoder {
 public:
  // The peer's SETTINGS_HEADER_TABLE_SIZE.
  void limit(std::uint32_t bytes);
  // Of a block: says what the table's size is, where that changed.
  void begin(std::string& out);
  // name: lower case. secret: neither end may keep it; so are fields known to carry credentials.
  void add(std::string& out, std::string_view name, std::string_view value, bool secret = false);

 private:
  HpackTable table_;
  std::size_t limit_ = kHpackTableBytesMax, least_ = kHpackTableBytesMax;  // least_: since the last block
  // Numbers of entries by hash: of names with values, of names. The newest counts; who is overwritten is sent once more.
  std::array<std::uint32_t, 256> pairs_{};
  std::array<std::uint32_t, 64> names_{};
};

// RFC 7541 appendix B. Appends what bytes stand for. False: no code, or wrong padding.
bool append_huffman_decoded(std::string_view bytes, std::string& out);

}  // namespace monopod::proxy
