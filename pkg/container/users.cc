#include "container/users.h"

#include <algorithm>

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::container {
namespace {

constexpr std::uint32_t kIdMax = 0x7fffffff;
constexpr std::size_t kAccountFileBytesMax = 4U << 20;

// A number in range, nullopt if not a number at all, an error if it is one out of range.
Result<std::optional<std::uint32_t>> parse_id(std::string_view text, std::string_view what) {
  bool digits = !text.empty() && std::all_of(text.begin() + (text.front() == '-' && text.size() > 1 ? 1 : 0), text.end(),
                                             [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) return std::nullopt;
  auto value = parse_int<std::uint32_t>(text);
  if (!value || *value > kIdMax) return fail(Code::kInvalidArgument, cat(what, " ", text, " is out of range 0-2147483647"));
  return value;
}

template <typename F>
void for_each_line(std::string_view text, F f) {
  while (!text.empty()) {
    std::size_t end = text.find('\n');
    std::string_view line = trim(text.substr(0, end));
    if (!line.empty() && line.front() != '#') f(line);
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::vector<PasswdEntry> parse_passwd(std::string_view text) {
  std::vector<PasswdEntry> out;
  for_each_line(text, [&](std::string_view line) {
    auto parts = split(line, ':');
    if (parts.size() < 4 || parts[0].empty()) return;
    auto uid = parse_int<std::uint32_t>(parts[2]);
    auto gid = parse_int<std::uint32_t>(parts[3]);
    if (!uid || !gid || *uid > kIdMax || *gid > kIdMax) return;
    out.push_back({std::string(parts[0]), *uid, *gid, parts.size() > 5 ? std::string(parts[5]) : std::string()});
  });
  return out;
}

std::vector<GroupEntry> parse_group(std::string_view text) {
  std::vector<GroupEntry> out;
  for_each_line(text, [&](std::string_view line) {
    auto parts = split(line, ':');
    if (parts.size() < 3 || parts[0].empty()) return;
    auto gid = parse_int<std::uint32_t>(parts[2]);
    if (!gid || *gid > kIdMax) return;
    GroupEntry entry{std::string(parts[0]), *gid, {}};
    if (parts.size() > 3) {
      for (auto member : split(parts[3], ',')) {
        if (!trim(member).empty()) entry.members.emplace_back(trim(member));
      }
    }
    out.push_back(std::move(entry));
  });
  return out;
}

Result<ResolvedUser> resolve_user(std::string_view spec, std::string_view passwd, std::string_view group) {
  ResolvedUser out;
  auto [user_part, group_part] = split_once(spec, ':');
  std::vector<PasswdEntry> users = parse_passwd(passwd);
  std::vector<GroupEntry> groups = parse_group(group);
  std::string_view user = user_part.empty() ? std::string_view("0") : user_part;

  // A name wins over the same text read as a number, as in the field.
  auto found = std::find_if(users.begin(), users.end(), [&](const PasswdEntry& e) { return e.name == user; });
  if (found == users.end()) {
    TRY_ASSIGN(std::optional<std::uint32_t> uid, parse_id(user, "uid"));
    if (!uid) return fail(Code::kInvalidArgument, cat("unable to find user ", user, ": no matching entries in passwd file"));
    out.uid = *uid;
    found = std::find_if(users.begin(), users.end(), [&](const PasswdEntry& e) { return e.uid == *uid; });
  }
  if (found != users.end()) {
    out.uid = found->uid;
    out.gid = found->gid;
    out.name = found->name;
    if (!found->home.empty()) out.home = found->home;
  }

  if (group_part && !group_part->empty()) {
    auto named = std::find_if(groups.begin(), groups.end(), [&](const GroupEntry& e) { return e.name == *group_part; });
    if (named != groups.end()) {
      out.gid = named->gid;
    } else {
      TRY_ASSIGN(std::optional<std::uint32_t> gid, parse_id(*group_part, "gid"));
      if (!gid) return fail(Code::kInvalidArgument, cat("unable to find group ", *group_part, ": no matching entries in group file"));
      out.gid = *gid;
    }
  } else if (!out.name.empty()) {
    for (const GroupEntry& entry : groups) {
      bool member = std::find(entry.members.begin(), entry.members.end(), out.name) != entry.members.end();
      if (member && entry.gid != out.gid) out.additional_gids.push_back(entry.gid);
    }
  }
  return out;
}

Result<ResolvedUser> resolve_user_in(const sys::Root& root, std::string_view spec) {
  auto read = [&](const char* path) -> Result<std::string> {
    Result<std::string> text = root.read_file(path, kAccountFileBytesMax);
    if (!text && text.error().code() == Code::kNotFound) return std::string();
    return text;
  };
  TRY_ASSIGN(std::string passwd, read("/etc/passwd"));
  TRY_ASSIGN(std::string group, read("/etc/group"));
  return resolve_user(spec, passwd, group);
}

std::string find_home_in(const sys::Root& root, std::uint32_t uid) {
  Result<std::string> passwd = root.read_file("/etc/passwd", kAccountFileBytesMax);
  if (!passwd) return "/";
  for (const PasswdEntry& entry : parse_passwd(*passwd)) {
    if (entry.uid == uid) return entry.home.empty() ? "/" : entry.home;
  }
  return "/";
}

}  // namespace monopod::container
