// A bundle: a directory with config.json (runtime-spec bundle.md), read, checked and made absolute.
#pragma once

#include <string>

#include "codec/json.h"
#include "container/config.h"

namespace monopod::container::oci {

inline constexpr std::size_t kConfigBytesMax = 4U << 20;

struct Bundle {
  std::string path;         // absolute
  ContainerConfig config;   // every path absolute
  json::Value resources;    // linux.resources as it stands: resources.h reads it
};

// Errors name the member: "config: process.cwd …". Capabilities of another kernel are left out with a warning, as the specification wants it.
Result<Bundle> load_bundle(const std::string& path);
// The same from text; path is what relative paths start at.
Result<Bundle> parse_bundle(const std::string& path, std::string_view text);
// What the kernel of this machine lacks and the config asks for: security modules.
Result<> check_host(const ContainerConfig& config);
// Capabilities that no kernel we know has are dropped from every set, with a warning; malformed names are errors.
Result<> drop_unknown_capabilities(Capabilities& capabilities);

// The config.json that `spec` writes.
std::string example_config(bool rootless);

}  // namespace monopod::container::oci
