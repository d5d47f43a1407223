// Which stages a build needs, and the words of FROM.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "build/dockerfile.h"
#include "build/words.h"
#include "image/config.h"

namespace monopod::build {

struct Stage {
  std::size_t index = 0;
  std::string name;                    // lowercase, or empty
  std::string base;                    // a reference, "scratch", or of a stage its text
  int base_stage = -1;                 // index of a stage before it
  const Instruction* from = nullptr;
  std::vector<const Instruction*> instructions;
  std::vector<std::size_t> needs;      // stages that it copies or mounts from, and its base
  std::string title() const { return name.empty() ? std::to_string(index) : name; }
};

struct Plan {
  std::vector<Stage> stages;              // all of them
  std::vector<std::size_t> order;         // those that the target needs, the target last
  std::map<std::string, std::string> global_arguments;  // of ARG before the first FROM, and the platform's
};

// arguments: --build-arg. Errors name the line: a stage that comes later, a name that stands twice, an unknown target.
Result<Plan> plan_stages(const Dockerfile& file, const std::map<std::string, std::string>& arguments, const std::string& target, const image::Platform& platform);

// What --from= and --mount=...,from= of an instruction name: stages or images.
std::vector<std::string> sources_of(const Instruction& at);

// The stage that --from= names (name or number), among those before limit; -1: an image.
int find_stage(const std::vector<Stage>& stages, std::string_view name, std::size_t limit);

}  // namespace monopod::build
