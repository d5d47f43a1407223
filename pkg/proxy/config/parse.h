// The configuration file (YAML) as a Spec. example.yaml has every field.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"
#include "proxy/config/spec.h"

namespace monopod::proxy {

// Reads a file that the configuration names (certificates, keys).
using ReadFile = std::function<Result<std::string>(const std::string& path)>;

struct ParsedFile {
  Spec spec;
  std::vector<std::string> files;  // what it named, to be watched with it
};

// Errors: kInvalidArgument "line 12: clusters[0].balancer: "x" is not one of …"; the caller adds the file's name.
Result<ParsedFile> parse_config(std::string_view yaml, const ReadFile& read);
// The same form for an error that compile() found.
std::string locate(std::string_view yaml, std::string_view path, std::string_view why);

}  // namespace monopod::proxy
