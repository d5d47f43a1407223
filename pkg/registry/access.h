// Who may use the registry: user names and password hashes of a file, one "user:hash" to a line ('#' starts a comment), as htpasswd -B
// writes them (bcrypt), or scrypt's of pki/password.h. Read once.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "async/pool.h"
#include "async/task.h"

namespace monopod::registry {

inline constexpr std::size_t kUsersMax = 10'000;

class Access {
 public:
  // kInvalidArgument names the line.
  static Result<std::unique_ptr<Access>> parse(std::string_view file);

  // The value of an Authorization header. The slow hash runs on the pool; a pair that was right before is known by its digest.
  async::Task<bool> allows(std::string authorization, async::Pool& pool) const;

 private:
  std::map<std::string, std::string, std::less<>> hashes_;     // by user
  mutable std::map<std::string, std::string> right_;           // user -> digest of the right password
};

}  // namespace monopod::registry
