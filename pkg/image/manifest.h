// Manifests and indexes: OCI image-spec 1.1 and Docker distribution schema 2. The type is decided by mediaType alone, and a
// document that could be read as both is refused (CVE-2021-41190).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "image/config.h"
#include "image/limits.h"

namespace monopod::image {

struct Descriptor {
  std::string media_type;
  std::string digest;  // valid
  std::uint64_t size = 0;
  std::optional<Platform> platform;
  std::map<std::string, std::string> annotations;
};

struct Manifest {
  Descriptor config;
  std::vector<Descriptor> layers;  // base first
};

struct Index {
  std::vector<Descriptor> manifests;
};

inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";

// media_type: what named the document (a descriptor or Content-Type); must agree with the document's own.
Result<std::variant<Manifest, Index>> parse_manifest(std::string_view text, std::string_view media_type, const Limits& limits);
std::string format_manifest(const Manifest& manifest);

// The best entry for the platform: same os and architecture, variant equal, else empty, else any lower one. Attestations
// ("unknown" platform) never. Entries without a platform only if there is no other.
std::optional<Descriptor> choose_platform(const Index& index, const Platform& platform);

}  // namespace monopod::image
