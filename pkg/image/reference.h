// Image references as people type them and as they are stored: distribution/reference's grammar and Docker's defaults.
//   busybox -> docker.io/library/busybox:latest     localhost:5000/a/b:1 -> itself     a@sha256:... -> docker.io/library/a@sha256:...
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace monopod::image {

struct Reference {
  std::string domain;  // host[:port]
  std::string path;    // lowercase components
  std::string tag;     // empty where only a digest was given
  std::string digest;  // "sha256:..." or empty

  std::string repository() const { return domain + "/" + path; }
  // Canonical: domain/path[:tag][@digest].
  std::string text() const;
};

// kInvalidArgument "invalid reference format..." with upstream's wording.
Result<Reference> parse_reference(std::string_view text);

}  // namespace monopod::image
