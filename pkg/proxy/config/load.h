// A configuration file as a Snapshot.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proxy/config/snapshot.h"

namespace monopod::proxy {

struct Loaded {
  std::shared_ptr<const Snapshot> snapshot;
  std::vector<std::string> files;  // the file itself and those it names
};

// Blocks on the files; previous as of compile(). kInvalidArgument "proxy.yaml: line 12: clusters[0].endpoints: …": refused whole.
Result<Loaded> load_config(const std::string& path, const Snapshot* previous);

}  // namespace monopod::proxy
