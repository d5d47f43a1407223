// What a build says on standard error: a line as a step begins and ends, and what its container writes between; on a terminal a bar below them.
#pragma once

#include <map>
#include <string>

#include "async/task.h"
#include "build/builder.h"
#include "codec/json.h"
#include "sys/terminal.h"

namespace monopod::cmd {

class BuildProgress {
 public:
  // quiet: only what a step that fails wrote last.
  explicit BuildProgress(bool quiet) : quiet_(quiet) {}
  // The steps that have ended: stage, number, text, cached, milliseconds.
  json::Array take_steps() { return std::move(steps_); }

  async::Task<Result<>> report(build::StepReport step);

 private:
  void print(const build::StepReport& step, const std::string& head);
  void draw(std::size_t total);

  bool quiet_;
  sys::ProgressBar bar_{"build", sys::ProgressBar::Unit::kCount};
  std::size_t done_ = 0;
  json::Array steps_;
  std::map<std::string, std::string> running_;  // heads of steps, and their instructions
  std::map<std::string, std::string> written_;  // quiet: the end of what each wrote
};

}  // namespace monopod::cmd
