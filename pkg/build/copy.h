// COPY and ADD: which files of a tree a pattern names, what they hold, and how they get into another tree. Every path of either tree is resolved
// inside of it (sys::Root). Blocking.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "build/file_mode.h"
#include "build/ignore.h"
#include "sys/root.h"

namespace monopod::build {

// Absolute, without "." and "..", which end at the root: "a/./b/../c/" is "/a/c". By its text alone.
std::string clean_path(std::string_view path);

struct CopySource {
  const sys::Root& root;
  const IgnoreList* ignore = nullptr;  // the context's; null elsewhere
  bool keep_owner = false;             // another stage's files keep theirs, the context's become root's
  const IgnoreList* exclude = nullptr;  // --exclude: of paths below what a word names, or of the name of a file that it names
};

struct CopyOptions {
  std::string destination;  // absolute; with a '/' at its end, or of several sources, a directory
  std::optional<std::pair<std::uint32_t, std::uint32_t>> owner;
  std::optional<FileMode> mode;  // of files and directories
  // --parents: each source goes below the destination under its path without so many of its first components (find_cuts). Empty: under its name.
  std::vector<std::size_t> cuts = {};
};

// The paths below the root that the words name, sorted within each; a pattern (* ? [) names what matches. kNotFound for a word that names nothing.
Result<std::vector<std::string>> find_sources(const CopySource& from, const std::vector<std::string>& words);
// Of --parents, for each path that the words name: the components before the word's "/./".
Result<std::vector<std::size_t>> find_cuts(const CopySource& from, const std::vector<std::string>& words);
// Over paths, types, modes, owners where they are kept, and contents; not over times.
Result<std::string> digest_sources(const CopySource& from, const std::vector<std::string>& paths);
// A directory's content goes into the destination, a file under its name or the destination's.
Result<> copy_sources(const CopySource& from, const std::vector<std::string>& paths, const sys::Root& into, const CopyOptions& options);
// All of a tree's content into a directory.
Result<> copy_tree(const CopySource& from, const sys::Root& into, const CopyOptions& options);

}  // namespace monopod::build
