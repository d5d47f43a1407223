// Records of layers (plain pieces): whatever they say, reading ends, and skipping comes to the same length.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image/layer_record.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

namespace {

constexpr std::size_t kFileBytes = 4096;

Result<sys::Fd> open_file(const std::string& path, std::uint64_t) {
  if (path.starts_with('g')) return fail(Code::kNotFound, "gone");
  static const int file = [] {
    int fd = ::memfd_create("file", MFD_CLOEXEC);
    fuzz::check(::ftruncate(fd, kFileBytes) == 0, "a file");
    return fd;
  }();
  return sys::Fd(::fcntl(file, F_DUPFD_CLOEXEC, 0));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view record = fuzz::text_of(data, size);
  // Each piece brings what is in the record or in the file: so many pieces, so many files.
  const std::size_t bytes_max = (size + 1) * (kFileBytes + 1);
  codec::MemorySource source(record);
  image::LayerTar tar(source, open_file, {});
  Result<std::string> whole = codec::read_all(tar, bytes_max);
  fuzz::check(whole || whole.error().code() == Code::kDataLoss, "what is wrong is lost data");
  if (!whole) return 0;
  codec::MemorySource again(record);
  image::LayerTar skipped(again, open_file, {});
  Result<std::uint64_t> length = skipped.skip(UINT64_MAX);
  fuzz::check(length.has_value() && *length == whole->size(), "skipping passes over as much as reading gives");
  return 0;
}
