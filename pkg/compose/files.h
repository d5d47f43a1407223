// From the files of a command line to one tree: laid over one another, with what they extend and include.
#pragma once

#include <string>
#include <vector>

#include "compose/project.h"

namespace monopod::compose {

// paths: absolute, or "-"; at least one, the later over the earlier. Relative paths within stay relative to directory; those of files that are
// extended or included become absolute. Errors begin with the file they are of. kInvalidArgument for a circle of extends or includes, or what is
// included and defined otherwise.
Result<json::Value> read_files(const std::vector<std::string>& paths, const std::string& directory, const Sources& sources);

// "/a" of "/a/b"; "." where there is no slash.
std::string directory_of(const std::string& path);

}  // namespace monopod::compose
