// What a RUN mounts and holds while it runs, between the files that mount and run: run_mounts.cc, run_command.cc.
#pragma once

#include <string>
#include <vector>

#include "build/build.h"

namespace monopod::build {

// Cache directories in use by a step, until it dies. sharing=shared: with any but a locked one's user; locked: by one step at a time; private: one of its own
// where another step uses it. All of a step's are taken at once, so that no two steps wait for each other.
class Build::Caches {
 public:
  explicit Caches(Build& build) : build_(build) {}
  Caches(const Caches&) = delete;
  ~Caches();
  async::Task<Result<>> take(RunStep& step);  // waits; makes those that are not there, and sets their host_path

 private:
  bool try_take(RunStep& step);

  Build& build_;
  std::vector<std::string> held_;
};

// What a step writes into a bind with rw is thrown away: it goes over an overlay, or of a file into a copy, until this is cleared. Blocking.
class WritableBinds {
 public:
  explicit WritableBinds(std::string base) : base_(std::move(base)) {}  // beginning of the paths that are made
  WritableBinds(const WritableBinds&) = delete;
  ~WritableBinds() { clear(); }
  Result<> make(RunStep& step);  // and sets their host_path
  void clear();

 private:
  std::string base_;
  std::vector<std::string> trees_;
};

}  // namespace monopod::build
