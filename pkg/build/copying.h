// What a COPY or ADD is about, between the files that do it: copy_command.cc, link_command.cc.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <vector>

#include "base/strings.h"
#include "build/build.h"

namespace monopod::build {

// Heredocs and what came from addresses: files of a directory of their own.
class Build::Extras {
 public:
  ~Extras() {
    if (path_.empty()) return;
    std::size_t slash = path_.rfind('/');
    if (auto root = sys::Root::open(path_.substr(0, slash))) (void)root->remove_tree(path_.substr(slash + 1));
  }
  Result<sys::Root> open(const BuildOptions& options, Rng& rng) {
    if (path_.empty()) {
      std::string path = cat(options.work_dir, "/doc-", rng.uuid());
      if (::mkdir(path.c_str(), 0700) != 0) return fail_errno(cat("make directory ", path));
      path_ = std::move(path);
    }
    return sys::Root::open(path_);
  }
  std::vector<std::string> names;

 private:
  std::string path_;
};

// What one COPY or ADD takes, and where it goes.
struct Build::Copying {
  const Instruction& instruction;
  CopyOptions into{};
  std::string chown{}, from{}, checksum{};
  std::string exclude_text{};
  IgnoreList exclude{};
  std::vector<std::string> named{};      // patterns below the context or --from=
  std::vector<std::string> addresses{};  // not fetched yet
  std::string image{};                   // --from=: its id
  std::optional<sys::Root> root{};       // once it is needed
  std::vector<std::string> paths{};      // what named was found to be
  std::size_t count = 0;                 // of them
  bool parents = false;                  // paths stay
  std::optional<bool> unpack{};          // ADD: of archives; where nothing is said, of the context's
  std::string chmod{};
  bool link = false;                     // into a layer of its own
  Extras extras{};
  std::string content{};                 // what the step's cache depends on
};

}  // namespace monopod::build
