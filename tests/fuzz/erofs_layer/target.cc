// A layer's entries into an EROFS image. A line each: kind, name, target, and the size of what a file holds. Whatever they are, unpacking ends, and what it accepts becomes a whole image.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/strings.h"
#include "image/erofs_layer.h"
#include "image/erofs_format.h"
#include "image/tar.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;

namespace {

constexpr std::size_t kFileBytesMax = 200'000;

std::string make_tar(std::string_view text) {
  using Type = image::TarEntry::Type;
  codec::StringSink out;
  image::TarWriter tar(out);
  for (std::string_view line : split(text, '\n')) {
    std::vector<std::string_view> words = split(line, ' ');
    if (words.size() < 3 || words[0].empty() || words[1].empty()) continue;
    image::TarEntry entry;
    entry.name = words[1];
    entry.link = words[2];
    entry.mode = 0644;
    constexpr std::string_view kKinds = "fdlhcbp";
    const std::size_t kind = kKinds.find(words[0][0]);
    if (kind == std::string_view::npos) continue;
    entry.type = static_cast<Type>(kind);
    std::string content;
    if (entry.type == Type::kFile && words.size() > 3) content.assign(std::min(parse_int<std::size_t>(words[3]).value_or(0), kFileBytesMax), words[3].back());
    entry.size = entry.data_bytes = content.size();
    if (words.size() > 4) entry.xattrs["user.x"] = words[4];
    if (!tar.begin(entry) || !tar.write(as_bytes(content))) return {};
  }
  return tar.finish() ? std::move(out.text()) : std::string();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string tar = make_tar(fuzz::text_of(data, size));
  for (bool compress : {false, true}) {
    sys::Fd file(::memfd_create("image", MFD_CLOEXEC));
    fuzz::check(static_cast<bool>(file), "a file");
    sys::Fd image = *file.duplicate();
    codec::MemorySource source(tar);
    const std::atomic<bool> stop{false};
    const image::UnpackLimits limits{.bytes_max = 16U << 20, .entries_max = 10'000};
    image::ErofsLayer layer(std::move(file), compress);
    auto unpacked = layer.unpack(source, limits, stop, nullptr);
    if (!unpacked) continue;
    fuzz::check(layer.finish().has_value(), "what is accepted becomes an image");
    image::erofs::SuperBlock super;
    fuzz::check(::pread(image.get(), &super, sizeof super, image::erofs::kSuperOffset) == sizeof super, "it has a superblock");
    struct ::stat st = {};
    fuzz::check(::fstat(image.get(), &st) == 0 && super.magic == image::erofs::kMagic && static_cast<std::uint64_t>(st.st_size) == super.blocks * image::erofs::kBlockBytes, "which says how large it is");
  }
  return 0;
}
