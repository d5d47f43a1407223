// E4: record lengths and row ids of the file and of its write-ahead log, made wrong. A damaged file is refused with one line or its damage
// is reported when it is read; a damaged end of the log is what a power cut leaves: what was before it stays.
#include <fstream>

#include "store/test_support.h"

namespace monopod::testing {
namespace {

using namespace store;
using async::Task;

constexpr int kKeys = 60;

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write_content(const std::string& path, const std::string& content) { std::ofstream(path, std::ios::binary | std::ios::trunc) << content; }

Task<Result<>> fill(StoreTest& t) {
  for (int i = 0; i < kKeys; ++i) CO_TRY(co_await t.store.put(cat("k", 100 + i), share(std::string(300, 'x'))));
  co_return Result<>();
}
// Fewer keys are a lie; wrong ones too.
Task<Result<>> read_all(StoreTest& t) {
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(everything()));
  EXPECT_EQ(all.kvs.size(), static_cast<std::size_t>(kKeys)) << "keys vanished silently";
  for (const KeyValue& kv : all.kvs) EXPECT_EQ(*kv.value, std::string(300, 'x'));
  co_return Result<>();
}

void expect_sound_or_told(const std::string& path, const std::string& what) {
  Result<> read = run_store({.path = path, .durability = Durability::kOs}, read_all);
  if (read) return;
  EXPECT_EQ(read.error().code(), Code::kDataLoss) << what << ": " << read.error().message();
  EXPECT_FALSE(read.error().message().contains('\n'));
}

// A table leaf begins with 0x0d, cell pointers follow its 8 bytes (sqlite.org/fileformat2.html section 1.6).
TEST(CorruptLengths, OfRecordsInTheFileAreRefusedOrTold) {
  TempDir dir;
  test_store({.path = dir.file(), .durability = Durability::kOs}, fill);
  const std::string whole = content_of(dir.file());
  SeededRng rng(4);
  int damaged = 0;
  const auto page_bytes = static_cast<std::size_t>(static_cast<unsigned char>(whole[16]) << 8 | static_cast<unsigned char>(whole[17]));
  for (std::size_t page = 1; page * page_bytes < whole.size(); ++page) {
    auto at = [&](std::size_t i) { return static_cast<unsigned char>(whole[page * page_bytes + i]); };
    if (at(0) != 0x0d) continue;
    std::size_t cells = static_cast<std::size_t>(at(3) << 8 | at(4));
    for (std::size_t cell = 0; cell < cells; cell += 5) {
      std::size_t offset = static_cast<std::size_t>(at(8 + 2 * cell) << 8 | at(9 + 2 * cell));
      for (const char* lie : {"\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x81", "\xff\x7f"}) {
        std::string bad = whole;
        std::string_view bytes(lie);
        bad.replace(page * page_bytes + offset + rng.below(3), bytes.size(), bytes);
        write_content(dir.file(), bad);
        expect_sound_or_told(dir.file(), cat("page ", page, " cell ", cell));
        ++damaged;
      }
    }
  }
  EXPECT_GT(damaged, 20);
}

Task<Result<>> copy_files(StoreTest& t, const std::string& from, const std::string& to) {
  CO_TRY(co_await fill(t));
  for (const char* suffix : {"", "-wal"}) write_content(to + suffix, content_of(from + suffix));  // as a kill leaves them
  co_return Result<>();
}
struct Copy {
  std::string from, to;
  Task<Result<>> operator()(StoreTest& t) { return copy_files(t, from, to); }
};
Task<Result<>> read_prefix(StoreTest& t) {
  CO_TRY_ASSIGN(RangeResult all, co_await t.store.range(everything()));
  for (std::size_t i = 0; i < all.kvs.size(); ++i) EXPECT_EQ(all.kvs[i].key, cat("k", 100 + i)) << "a hole";
  CO_TRY(co_await t.store.put("more", share("works")));
  co_return Result<>();
}

TEST(CorruptLengths, OfTheWriteAheadLogLeaveWhatWasBefore) {
  TempDir dir;
  const std::string killed = dir.file("killed.db");
  test_store({.path = dir.file(), .durability = Durability::kOs}, Copy{dir.file(), killed});
  const std::string file = content_of(killed), wal = content_of(killed + "-wal");
  const std::size_t frame_bytes = 24 + static_cast<std::size_t>(static_cast<unsigned char>(file[16]) << 8 | static_cast<unsigned char>(file[17]));
  ASSERT_GT(wal.size(), 20 * frame_bytes);
  SeededRng rng(5);
  for (int round = 0; round < 40; ++round) {
    std::string bad = wal;
    std::size_t frame = 32 + frame_bytes * rng.below(bad.size() / frame_bytes);
    switch (round % 4) {
      case 0: bad[frame + rng.below(8)] = static_cast<char>(rng.next()); break;   // page number, size after commit
      case 1: bad[frame + 8 + rng.below(16)] ^= 0x40; break;                      // salt, checksum
      case 2: bad.resize(frame + rng.below(frame_bytes)); break;
      default: bad.replace(rng.below(32), 1, "\xff"); break;                      // header
    }
    write_content(killed, file);
    write_content(killed + "-wal", bad);
    std::filesystem::remove(killed + "-shm");
    Result<> opened = run_store({.path = killed, .durability = Durability::kOs}, read_prefix);
    if (!opened) EXPECT_EQ(opened.error().code(), Code::kDataLoss) << "round " << round << ": " << opened.error().message();
  }
}

}  // namespace
}  // namespace monopod::testing
