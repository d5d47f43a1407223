// What the registry holds: repositories with their manifests, tags and blobs. In memory, and in the StateStore's bucket "registry":
//   blob/<repository>@<digest>      size
//   manifest/<repository>@<digest>  media type, size, subject, artifact type, one to a line
//   tag/<repository>:<tag>          digest
// A method changes the memory and returns the changes that make it durable; who applies them is one at a time (Registry's lock).
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/state_store.h"

namespace monopod::registry {

inline constexpr char kBucket[] = "registry";
using Changes = std::vector<async::StateChange>;

struct ManifestEntry {
  std::string media_type;
  std::uint64_t size = 0;
  std::string subject;
  std::string artifact_type;
};

struct Repository {
  std::map<std::string, std::uint64_t, std::less<>> blobs;      // digest -> size
  std::map<std::string, ManifestEntry, std::less<>> manifests;  // by digest
  std::map<std::string, std::string, std::less<>> tags;         // tag -> digest
};

class Catalog {
 public:
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  // What cannot be read, or names content for which present(digest) is false, is left out and its key added to dropped.
  static Catalog load(const Pairs& records, const std::set<std::string>& present, std::vector<std::string>& dropped);

  const Repository* find(std::string_view repository) const;
  const std::map<std::string, Repository, std::less<>>& repositories() const { return repositories_; }
  // Some repository that has the blob; null where none has. Manifests count.
  bool holds(std::string_view digest) const;
  const std::uint64_t* find_blob(std::string_view repository, std::string_view digest) const;
  // Digests of all blobs and manifests.
  std::set<std::string> contents() const;

  Changes add_blob(const std::string& repository, const std::string& digest, std::uint64_t size);
  Changes remove_blob(const std::string& repository, const std::string& digest);
  Changes put_manifest(const std::string& repository, const std::string& digest, ManifestEntry entry, const std::vector<std::string>& tags);
  Changes remove_manifest(const std::string& repository, const std::string& digest);  // with the tags that name it
  Changes remove_tag(const std::string& repository, const std::string& tag);

 private:
  void forget_if_empty(const std::string& repository);
  std::map<std::string, Repository, std::less<>> repositories_;
};

}  // namespace monopod::registry
