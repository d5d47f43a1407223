// In which order which registries are asked for a reference: hosts.toml (hosts.h), then the reference's own.
#pragma once

#include <memory>
#include <vector>

#include "http/tls.h"
#include "image/hosts.h"
#include "image/registry.h"

namespace monopod::image {

struct Source {
  std::unique_ptr<http::TlsClient> tls;  // its own trust, where the file says so
  RegistryOptions options;
};

// Blocking. base: what all of them share; its credentials go to the registry itself alone, not to mirrors. config_dir may be empty.
Result<std::vector<Source>> find_sources(const std::string& config_dir, const Reference& reference, const RegistryOptions& base, bool push);

}  // namespace monopod::image
