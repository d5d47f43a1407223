// --chmod=: what chmod(1) takes, octal digits or clauses: "755", "u=rwX,go=rX", "+x".
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod::build {

class FileMode {
 public:
  // kInvalidArgument. Who is left out is everybody, whatever the umask.
  static Result<FileMode> parse(std::string_view text);
  // Of the permission bits that a file or directory has.
  std::uint32_t apply(std::uint32_t mode, bool directory) const;
  std::optional<std::uint32_t> octal() const { return octal_; }

 private:
  struct Clause {
    std::uint32_t who = 0;    // of 07777: what it is about
    char operation = '=';     // + - =
    std::uint32_t bits = 0;   // rwx of all, s, t
    bool if_executed = false;  // X: x of directories, and of what somebody may execute
    char copied = 0;          // u, g or o: their bits
  };
  std::optional<std::uint32_t> octal_;
  std::vector<Clause> clauses_;
};

}  // namespace monopod::build
