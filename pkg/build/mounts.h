// RUN --mount=type=bind|cache|tmpfs|secret|ssh: its words.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "build/dockerfile.h"

namespace monopod::build {

struct RunMount {
  enum class Type { kBind, kCache, kTmpfs, kSecret, kSsh };
  Type type = Type::kBind;
  enum class Sharing { kShared, kPrivate, kLocked };
  Sharing sharing = Sharing::kShared;  // of a cache: with steps that run at the same time
  std::string target;  // absolute
  std::string from;    // stage or image; empty: the context (bind) or nothing (cache, which begins with it)
  std::string source;  // below it
  std::string id;      // of a cache, secret or agent of ssh
  std::string env;     // a secret as a variable; then target may be empty
  bool read_only = false;
  bool required = false;
  std::optional<std::uint32_t> mode, uid, gid;
  std::string size;    // of a tmpfs, as mount(8) has it
};

// text: after --mount=, variables replaced. work_dir: what a relative target is below.
Result<RunMount> parse_run_mount(std::string_view text, const std::string& work_dir);

}  // namespace monopod::build
