// User and group names from the image's own /etc/passwd and /etc/group: never the host's, never NSS.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace monopod::sys {
class Root;
}

namespace monopod::container {

struct PasswdEntry {
  std::string name;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::string home;
};
struct GroupEntry {
  std::string name;
  std::uint32_t gid = 0;
  std::vector<std::string> members;
};
// Lines that do not parse are skipped, as every libc does.
std::vector<PasswdEntry> parse_passwd(std::string_view text);
std::vector<GroupEntry> parse_group(std::string_view text);

struct ResolvedUser {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> additional_gids;  // groups whose member list names the user
  std::string name;                            // empty where only a number is known
  std::string home = "/";
};
// spec: "", "name", "uid", "name:group", "uid:gid". Numbers are 0..2^31-1 as the field has it (CVE-2024-40635: never wraps to 0);
// kInvalidArgument outside. A name that is not in the files: "unable to find user NAME: no matching entries in passwd file".
Result<ResolvedUser> resolve_user(std::string_view spec, std::string_view passwd, std::string_view group);
// The same over the files of a root directory; missing files count as empty.
Result<ResolvedUser> resolve_user_in(const sys::Root& root, std::string_view spec);
// The home of an id; "/" where the image's passwd has none, or cannot be read: numbers need no names.
std::string find_home_in(const sys::Root& root, std::uint32_t uid);

}  // namespace monopod::container
