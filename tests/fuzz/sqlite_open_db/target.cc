// A real database file with bytes changed: the input is patches of three bytes, where (two bytes, little endian, modulo the size) and what.
// It opens or is refused with one line; what opens can be read or tells of its damage; nothing of it ends the process.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "store/database.h"
#include "store/format.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

namespace {

struct Sample {
  std::string directory;
  std::string path;
  std::string content;

  Sample() {
    std::string name = (::access("/dev/shm", W_OK) == 0 ? "/dev/shm/" : "/tmp/") + std::string("monopod-fuzz-XXXXXX");
    directory = ::mkdtemp(name.data());
    path = directory + "/state.db";
    auto db = store::Database::open({.path = path});
    fuzz::check(db.has_value(), "a new file opens");
    for (std::int64_t revision = 2; revision < 30; ++revision) {
      store::Writes writes;
      writes.changes.push_back({.key = "k" + std::to_string(revision), .now = {.row = store::row_id(revision, 0), .create = revision, .version = 1}, .value = share(std::string(100, 'v'))});
      if (revision == 5) writes.leases.push_back({.row = {.id = 7, .ttl_s = 60, .remaining_ms = 60'000}});
      store::Writes* batch[] = {&writes};
      fuzz::check((*db)->commit(batch).has_value(), "a commit");
    }
    db->reset();
    std::ifstream in(path, std::ios::binary);
    content.assign(std::istreambuf_iterator<char>(in), {});
  }
  ~Sample() {
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }
};

void check_error(const Error& error) { fuzz::check(!error.message().contains('\n') && !error.message().empty(), "an error is one line"); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Sample sample;
  std::string bad = sample.content;
  for (std::size_t i = 0; i + 3 <= size && i < 300; i += 3) bad[(data[i] | std::size_t{data[i + 1]} << 8) % bad.size()] = static_cast<char>(data[i + 2]);
  for (const char* suffix : {"-wal", "-shm"}) ::unlink((sample.path + suffix).c_str());
  std::ofstream(sample.path, std::ios::binary | std::ios::trunc) << bad;
  auto db = store::Database::open({.path = sample.path});
  if (!db) {
    check_error(db.error());
    return 0;
  }
  std::vector<store::RowId> rows;
  Result<> scanned = (*db)->scan([&rows](const store::Version& version, std::string_view) -> Result<> {
    if (rows.size() < 100) rows.push_back(version.row);
    return {};
  });
  if (!scanned) check_error(scanned.error());
  if (auto meta = (*db)->read_meta(); !meta) check_error(meta.error());
  if (auto leases = (*db)->read_leases(); !leases) check_error(leases.error());
  if (auto values = (*db)->read_values(rows); !values) check_error(values.error());
  if (auto findings = (*db)->check_everything({}); !findings) check_error(findings.error());
  return 0;
}
