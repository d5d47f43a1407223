// What a path of the distribution API (OCI distribution-spec 1.1, "Endpoints") asks for.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace monopod::registry {

struct Route {
  enum class Kind { kNone, kBase, kCatalog, kTags, kManifest, kBlob, kUploads, kUpload, kReferrers };
  Kind kind = Kind::kNone;
  std::string name;       // of the repository, not yet checked
  std::string reference;  // tag, digest or upload id, not yet checked
};

// path: decoded. kNone for what is no endpoint.
Route parse_route(std::string_view path);

// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* joined by '/', at most kNameBytesMax.
bool is_repository_name(std::string_view name);
// [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}
bool is_tag(std::string_view tag);

// "a-b" of Content-Range in an upload ("bytes a-b" and "bytes a-b/total" are taken too): both inclusive.
struct ByteRange {
  std::uint64_t first = 0, last = 0;
};
std::optional<ByteRange> parse_content_range(std::string_view text);

// Range of a GET (RFC 9110 section 14.2) over size bytes. One range is served; several, or another unit, are as if there were none.
struct RangeAnswer {
  enum class Kind { kWhole, kPart, kUnsatisfiable };
  Kind kind = Kind::kWhole;
  ByteRange range;
};
RangeAnswer parse_range(std::string_view text, std::uint64_t size);

}  // namespace monopod::registry
