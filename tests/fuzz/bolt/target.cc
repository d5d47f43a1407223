// Database files of etcd: reading any bytes ends, and what is read can be written and read again. Inputs are kept short, so a page of the
// file is 64 bytes of input, stretched with zeros to the format's smallest page, and metas get the checksum they should have.
#include <sys/mman.h>

#include <cstring>
#include <map>

#include "etcd/snapshot/backend_image.h"
#include "etcd/snapshot/bolt_reader.h"
#include "etcd/snapshot/bolt_writer.h"
#include "sys/fd.h"
#include "tests/fuzz/fuzz.h"

using namespace monopod;
using namespace monopod::etcd;

namespace {

constexpr std::size_t kStretched = 64;
using Content = std::map<std::string, std::map<std::string, std::string>>;

std::string stretch(std::string_view text) {
  std::string file;
  for (std::size_t at = 0; at < text.size(); at += kStretched) {
    std::string page(text.substr(at, kStretched));
    page.resize(bolt::kPageBytesMin);
    file += page;
  }
  for (std::size_t meta : {std::size_t{0}, bolt::kPageBytesMin}) {
    if (file.size() < meta + bolt::kPageBytesMin) break;
    std::uint64_t sum = bolt::fnv1a(std::string_view(file).substr(meta + bolt::kPageHeaderBytes, bolt::kMetaBytes - 8));
    std::memcpy(file.data() + meta + bolt::kPageHeaderBytes + bolt::kMetaBytes - 8, &sum, sizeof sum);
  }
  return file;
}

Result<Content> read(std::string_view bytes) {
  StringSource source(bytes);
  TRY_ASSIGN(BoltReader reader, BoltReader::open(source));
  Content content;
  for (const std::string& bucket : reader.buckets()) {
    auto& pairs = content[bucket];
    TRY(reader.walk(bucket, [&](std::string_view key, std::string_view value) -> Result<> {
      (void)parse_row(key, value);
      pairs.emplace(key, value);
      return {};
    }));
  }
  return content;
}

std::string write(const Content& content) {
  sys::Fd fd(::memfd_create("bolt", MFD_CLOEXEC));
  BoltWriter writer(fd.get());
  for (const auto& [bucket, pairs] : content) {
    fuzz::check(writer.begin_bucket(bucket).has_value(), "a bucket that was read can be begun");
    for (const auto& [key, value] : pairs) fuzz::check(writer.add(key, value).has_value(), "a pair that was read can be written");
    fuzz::check(writer.end_bucket().has_value(), "a bucket ends");
  }
  Result<std::int64_t> bytes = writer.finish();
  fuzz::check(bytes.has_value(), "the file ends");
  FileSource source(fd.get(), static_cast<std::uint64_t>(*bytes));
  Result<std::string> whole = source.read(0, static_cast<std::size_t>(*bytes));
  fuzz::check(whole.has_value(), "the file is as long as was said");
  return *whole;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  (void)read(text);
  Result<Content> content = read(stretch(text));
  if (!content) return 0;
  Result<Content> again = read(write(*content));
  fuzz::check(again.has_value() && *again == *content, "what is written is what was read");
  return 0;
}
