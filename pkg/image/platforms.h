// One name for the images of several platforms: the index that a registry or an archive shows of them, and who belongs to it. The name itself is of one of them, this machine's where
// there is one, so that whoever wants one image gets it.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "image/assembler.h"
#include "image/content.h"
#include "image/limits.h"

namespace monopod::image {

// Of a name: bucket "image", key "index/<reference>".
struct IndexRecord {
  std::string document;             // as it is pushed and saved
  std::string digest;               // of the document
  std::vector<std::string> images;  // ids, in the document's order
};

std::string format_record(const IndexRecord& record);
Result<IndexRecord> parse_index_record(std::string_view text);

// Blocking. kInvalidArgument for two of one platform.
Result<IndexRecord> make_index(const Content& content, const Limits& limits, const std::vector<StoredImage>& images);
// The document with other digests, by those that stand in it: of manifests that a bundle has rewritten. kDataLoss for one that is not replaced.
struct Replaced {
  std::string media_type, digest;
  std::uint64_t size = 0;
};
Result<std::string> replace_manifests(const std::string& document, const std::map<std::string, Replaced>& by);

}  // namespace monopod::image
