// Errors as the distribution API tells them (OCI distribution-spec 1.1, "Error Codes").
#pragma once

#include <string>
#include <string_view>

#include "http/exchange.h"

namespace monopod::registry {

struct Problem {
  int status;
  std::string_view code;
  std::string_view message;
};

inline constexpr Problem kBlobUnknown{404, "BLOB_UNKNOWN", "blob unknown to registry"};
inline constexpr Problem kUploadInvalid{400, "BLOB_UPLOAD_INVALID", "blob upload invalid"};
inline constexpr Problem kUploadBusy{409, "BLOB_UPLOAD_INVALID", "another request writes to this upload"};
inline constexpr Problem kUploadRange{416, "BLOB_UPLOAD_INVALID", "chunk does not continue the upload"};
inline constexpr Problem kUploadUnknown{404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"};
inline constexpr Problem kDigestInvalid{400, "DIGEST_INVALID", "provided digest did not match uploaded content"};
inline constexpr Problem kManifestBlobUnknown{404, "MANIFEST_BLOB_UNKNOWN", "manifest references a manifest or blob unknown to registry"};
inline constexpr Problem kManifestInvalid{400, "MANIFEST_INVALID", "manifest invalid"};
inline constexpr Problem kManifestUnknown{404, "MANIFEST_UNKNOWN", "manifest unknown to registry"};
inline constexpr Problem kNameInvalid{400, "NAME_INVALID", "invalid repository name"};
inline constexpr Problem kNameUnknown{404, "NAME_UNKNOWN", "repository name not known to registry"};
inline constexpr Problem kTagInvalid{400, "MANIFEST_INVALID", "invalid tag"};
inline constexpr Problem kTagsTooMany{414, "MANIFEST_INVALID", "more tags than this registry takes at once"};
inline constexpr Problem kPageInvalid{400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested"};
inline constexpr Problem kSizeInvalid{400, "SIZE_INVALID", "provided length did not match content length"};
inline constexpr Problem kTooLarge{413, "SIZE_INVALID", "larger than this registry takes"};
inline constexpr Problem kRangeInvalid{416, "SIZE_INVALID", "range not satisfiable"};
inline constexpr Problem kUnauthorized{401, "UNAUTHORIZED", "authentication required"};
inline constexpr Problem kUnsupported{405, "UNSUPPORTED", "the operation is unsupported"};
inline constexpr Problem kNotFound{404, "UNSUPPORTED", "no such endpoint"};
inline constexpr Problem kTooMany{429, "TOOMANYREQUESTS", "too many uploads are open"};
inline constexpr Problem kDiskFull{507, "UNKNOWN", "no space is left on the registry's disk"};
inline constexpr Problem kInternal{500, "UNKNOWN", "the registry could not do it"};

// {"errors":[{"code":...,"message":...,"detail":...}]}; detail may be empty.
async::Task<Result<>> respond(http::Exchange& exchange, const Problem& problem, std::string detail = {}, http::Headers headers = {});

}  // namespace monopod::registry
