// Tells when files change: written, replaced by a rename, or behind a symbolic link that moved (as Kubernetes updates mounted volumes).
#pragma once

#include <set>
#include <string>
#include <vector>

#include "async/task.h"
#include "sys/fd.h"

namespace monopod::proxy {

class FileWatch {
 public:
  static Result<FileWatch> make();
  // Replaces what is watched. Directories that are missing are left out.
  void set(const std::vector<std::string>& files);
  // Returns when one of them may have changed. forever: until somebody changes one.
  async::Task<Result<>> wait();

 private:
  explicit FileWatch(sys::Fd fd) : fd_(std::move(fd)) {}
  bool read_events();
  sys::Fd fd_;
  std::set<std::string> names_;  // without their directories
  std::vector<int> watches_;
};

}  // namespace monopod::proxy
