// The directories of volumes that are made on demand: <data-dir>/volumes/<volume>. One that goes is renamed below .removed first, and what is there
// is deleted behind that, at the next start also: no death leaves half a volume where its path was.
#pragma once

#include <string>

#include "async/event.h"
#include "async/pool.h"
#include "controllers/controllers.h"
#include "sys/root.h"

namespace monopod::cmd {

class LocalVolumes final : public controllers::VolumeDirectories {
 public:
  // The pool outlives it. Nothing is made before the first volume.
  LocalVolumes(async::Executor executor, async::Pool& pool, std::string directory, std::string node);

  std::string_view node() const override { return node_; }
  async::Task<Result<std::string>> make(std::string volume) override;
  async::Task<Result<>> remove(std::string volume) override;

  // Deletes what was removed, until cancelled.
  async::Task<Result<>> run();

 private:
  Result<> make_directory(const std::string& volume) const;    // blocking, as the next two
  Result<bool> move_away(const std::string& volume) const;     // whether there was something
  Result<> delete_removed() const;

  async::Pool& pool_;
  std::string directory_;
  std::string node_;
  async::Notify removed_;
  bool leftovers_ = true;  // unknown until looked at
};

}  // namespace monopod::cmd
