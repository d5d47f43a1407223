// A configuration file as a Snapshot.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proxy/config/snapshot.h"

namespace monopod::proxy {

// All that a configuration is made of.
struct Sources {
  std::string yaml{};
  std::map<std::string, std::string> files{};  // bytes, by the name that the text has for them
  bool operator==(const Sources&) const = default;
};

struct Loaded {
  std::shared_ptr<const Snapshot> snapshot;
  Spec spec;                       // that it was compiled from
  std::vector<std::string> files;  // the file itself and those it names
  Sources sources;
};

// Blocks on the files; previous as of compile(). kInvalidArgument "proxy.yaml: line 12: clusters[0].endpoints: …": refused whole.
Result<Loaded> load_config(const std::string& path, const Snapshot* previous);
// The same of what was read before; name: for errors.
Result<Loaded> load_sources(Sources sources, const std::string& name, const Snapshot* previous);
Result<std::string> read_whole(const std::string& path, std::size_t bytes_max);

}  // namespace monopod::proxy
