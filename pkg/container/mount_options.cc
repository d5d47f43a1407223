#include "container/mount_options.h"

#include <fcntl.h>
#include <linux/mount.h>

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "sys/root.h"

namespace monopod::container {
namespace {

struct OptionWord {
  std::string_view name;
  std::uint64_t set;
  std::uint64_t clear;
};
constexpr std::uint64_t kTimes = MOUNT_ATTR__ATIME;
constexpr std::array kAttributes = {
    OptionWord{"ro", MOUNT_ATTR_RDONLY, 0},         OptionWord{"rw", 0, MOUNT_ATTR_RDONLY},
    OptionWord{"nosuid", MOUNT_ATTR_NOSUID, 0},     OptionWord{"suid", 0, MOUNT_ATTR_NOSUID},
    OptionWord{"nodev", MOUNT_ATTR_NODEV, 0},       OptionWord{"dev", 0, MOUNT_ATTR_NODEV},
    OptionWord{"noexec", MOUNT_ATTR_NOEXEC, 0},     OptionWord{"exec", 0, MOUNT_ATTR_NOEXEC},
    OptionWord{"nodiratime", MOUNT_ATTR_NODIRATIME, 0}, OptionWord{"diratime", 0, MOUNT_ATTR_NODIRATIME},
    OptionWord{"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0}, OptionWord{"symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
    OptionWord{"noatime", MOUNT_ATTR_NOATIME, kTimes}, OptionWord{"atime", 0, kTimes},
    OptionWord{"strictatime", MOUNT_ATTR_STRICTATIME, kTimes}, OptionWord{"nostrictatime", 0, kTimes},
    OptionWord{"relatime", 0, kTimes},              OptionWord{"norelatime", 0, 0}};

struct PropagationWord {
  std::string_view name;
  std::uint64_t flag;
};
constexpr std::array kPropagations = {PropagationWord{"private", kPropagationPrivate}, PropagationWord{"slave", kPropagationSlave},
                                      PropagationWord{"shared", kPropagationShared}, PropagationWord{"unbindable", kPropagationUnbindable}};

// Set on the file system, not on a mount of it; their opposites are how it comes.
constexpr std::array<std::string_view, 5> kFileSystemFlags = {"sync", "dirsync", "lazytime", "mand", "iversion"};
constexpr std::array<std::string_view, 8> kNothing = {"defaults", "async", "noiversion", "nolazytime", "nomand", "loud", "silent", "newinstance"};
constexpr std::array<std::string_view, 6> kActions = {"bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"};

const OptionWord* find_attribute(std::string_view name) {
  auto it = std::find_if(kAttributes.begin(), kAttributes.end(), [&](const OptionWord& w) { return w.name == name; });
  return it == kAttributes.end() ? nullptr : &*it;
}

void add(sys::MountAttributes& to, const OptionWord& word) {
  to.set = (to.set & ~word.clear) | word.set;
  to.clear = (to.clear & ~word.set) | word.clear;
}

// The kernel takes an access-time mode only together with the field cleared.
void complete(sys::MountAttributes& attributes) {
  if ((attributes.set & kTimes) != 0) attributes.clear |= kTimes;
}

bool act(MountOptions& out, std::string_view option) {
  if (option == "bind" || option == "rbind") {
    out.bind = true;
    out.bind_recursive = option == "rbind";
  } else if (option == "remount") {
    out.remount = true;
  } else if (option == "tmpcopyup") {
    out.copy_up = true;
  } else if (option == "idmap" || option == "ridmap") {
    out.id_map = true;
    out.id_map_recursive = option == "ridmap";
  } else {
    return false;
  }
  return true;
}

}  // namespace

std::optional<Propagation> find_propagation(std::string_view word) {
  for (const PropagationWord& row : kPropagations) {
    if (row.name == word) return Propagation{row.flag, false};
    if (word.starts_with('r') && row.name == word.substr(1)) return Propagation{row.flag, true};
  }
  return std::nullopt;
}

MountOptions parse_mount_options(const Mount& mount) {
  MountOptions out;
  out.bind = mount.type == "bind";
  out.id_map = !mount.uid_mappings.empty();
  for (const std::string& option : mount.options) {
    if (option.empty() || std::find(kNothing.begin(), kNothing.end(), option) != kNothing.end() || act(out, option)) continue;
    if (const OptionWord* word = find_attribute(option)) {
      add(out.attributes, *word);
    } else if (const OptionWord* below = option.starts_with('r') ? find_attribute(std::string_view(option).substr(1)) : nullptr) {
      add(out.recursive, *below);
    } else if (auto propagation = find_propagation(option)) {
      out.propagation = propagation->flag;
      out.propagation_recursive = propagation->recursive;
    } else {
      auto [key, value] = split_once(option, '=');
      out.data.emplace_back(std::string(key), std::string(value.value_or("")));
    }
  }
  complete(out.attributes);
  complete(out.recursive);
  return out;
}

Result<sys::Fd> open_bind_source(const Mount& mount) {
  if (!mount.source_below.empty()) {
    TRY_ASSIGN(sys::Root base, sys::Root::open(mount.source));
    return base.open_file(mount.source_below, O_PATH);
  }
  sys::Fd source(::open(mount.source.c_str(), O_PATH | O_CLOEXEC));
  if (!source) return fail_errno(cat("open ", mount.source));
  return source;
}

Result<> set_bind_attributes(int mount_fd, const MountOptions& options) {
  // Slave and shared want the source's peer group, which a private copy has left.
  if (options.propagation == 0 || options.propagation == kPropagationPrivate) TRY(sys::set_mount_attributes(mount_fd, {0, 0, kPropagationPrivate}, true));
  TRY(sys::set_mount_attributes(mount_fd, options.attributes, false));
  TRY(sys::set_mount_attributes(mount_fd, options.recursive, true));
  if (options.propagation == 0) return {};
  return sys::set_mount_attributes(mount_fd, {0, 0, options.propagation}, options.propagation_recursive);
}

std::vector<std::string> mount_option_names() {
  std::vector<std::string> out;
  for (const OptionWord& word : kAttributes) {
    out.emplace_back(word.name);
    out.push_back(cat("r", word.name));
  }
  for (const PropagationWord& word : kPropagations) {
    out.emplace_back(word.name);
    out.push_back(cat("r", word.name));
  }
  for (std::string_view word : kFileSystemFlags) out.emplace_back(word);
  for (std::string_view word : kNothing) out.emplace_back(word);
  for (std::string_view word : kActions) out.emplace_back(word);
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace monopod::container
