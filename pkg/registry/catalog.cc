#include "registry/catalog.h"

#include "base/strings.h"
#include "image/digest.h"
#include "registry/route.h"

namespace monopod::registry {
namespace {

std::string blob_key(std::string_view repository, std::string_view digest) { return cat("blob/", repository, "@", digest); }
std::string manifest_key(std::string_view repository, std::string_view digest) { return cat("manifest/", repository, "@", digest); }
std::string tag_key(std::string_view repository, std::string_view tag) { return cat("tag/", repository, ":", tag); }

std::string format_entry(const ManifestEntry& entry) { return cat(entry.media_type, "\n", entry.size, "\n", entry.subject, "\n", entry.artifact_type); }

std::optional<ManifestEntry> parse_entry(std::string_view text) {
  std::vector<std::string_view> lines = split(text, '\n');
  if (lines.size() != 4) return std::nullopt;
  auto size = parse_int<std::uint64_t>(lines[1]);
  if (!size || (!lines[2].empty() && !image::is_blob_digest(lines[2]))) return std::nullopt;
  return ManifestEntry{.media_type = std::string(lines[0]), .size = *size, .subject = std::string(lines[2]), .artifact_type = std::string(lines[3])};
}

}  // namespace

Catalog Catalog::load(const Pairs& records, const std::set<std::string>& present, std::vector<std::string>& dropped) {
  Catalog out;
  auto take = [&](std::string_view key, const std::string& value) {
    auto [kind, rest] = split_once(key, '/');
    auto [name, what] = split_once(rest.value_or(""), kind == "tag" ? ':' : '@');
    if (!what || !is_repository_name(name)) return false;
    std::string repository(name), id(*what);
    if (kind == "tag") {  // sorted: after the manifests
      auto found = out.repositories_.find(repository);
      if (!is_tag(id) || found == out.repositories_.end() || !found->second.manifests.contains(value)) return false;
      found->second.tags.emplace(std::move(id), value);
      return true;
    }
    if (!image::is_blob_digest(id) || !present.contains(id)) return false;
    if (kind == "blob") {
      auto size = parse_int<std::uint64_t>(value);
      if (size) out.repositories_[repository].blobs.emplace(std::move(id), *size);
      return size.has_value();
    }
    auto entry = kind == "manifest" ? parse_entry(value) : std::nullopt;
    if (entry) out.repositories_[repository].manifests.emplace(std::move(id), *std::move(entry));
    return entry.has_value();
  };
  for (const auto& [key, value] : records)
    if (!take(key, value)) dropped.push_back(key);
  return out;
}

const Repository* Catalog::find(std::string_view repository) const {
  auto found = repositories_.find(repository);
  return found == repositories_.end() ? nullptr : &found->second;
}

bool Catalog::holds(std::string_view digest) const {
  for (const auto& [name, repository] : repositories_)
    if (repository.blobs.contains(digest) || repository.manifests.contains(digest)) return true;
  return false;
}

const std::uint64_t* Catalog::find_blob(std::string_view repository, std::string_view digest) const {
  const Repository* at = find(repository);
  if (at == nullptr) return nullptr;
  auto found = at->blobs.find(digest);
  return found == at->blobs.end() ? nullptr : &found->second;
}

std::set<std::string> Catalog::contents() const {
  std::set<std::string> out;
  for (const auto& [name, repository] : repositories_) {
    for (const auto& [digest, size] : repository.blobs) out.insert(digest);
    for (const auto& [digest, entry] : repository.manifests) out.insert(digest);
  }
  return out;
}

Changes Catalog::add_blob(const std::string& repository, const std::string& digest, std::uint64_t size) {
  if (!repositories_[repository].blobs.emplace(digest, size).second) return {};
  return {{.key = blob_key(repository, digest), .value = std::to_string(size)}};
}

void Catalog::forget_if_empty(const std::string& repository) {
  auto at = repositories_.find(repository);
  if (at != repositories_.end() && at->second.blobs.empty() && at->second.manifests.empty()) repositories_.erase(at);
}

Changes Catalog::remove_blob(const std::string& repository, const std::string& digest) {
  auto at = repositories_.find(repository);
  if (at == repositories_.end() || at->second.blobs.erase(digest) == 0) return {};
  forget_if_empty(repository);
  return {{.key = blob_key(repository, digest)}};
}

Changes Catalog::put_manifest(const std::string& repository, const std::string& digest, ManifestEntry entry, const std::vector<std::string>& tags) {
  Repository& at = repositories_[repository];
  Changes out{{.key = manifest_key(repository, digest), .value = format_entry(entry)}};
  at.manifests.insert_or_assign(digest, std::move(entry));
  for (const std::string& tag : tags) {
    at.tags.insert_or_assign(tag, digest);
    out.push_back({.key = tag_key(repository, tag), .value = digest});
  }
  return out;
}

Changes Catalog::remove_manifest(const std::string& repository, const std::string& digest) {
  auto at = repositories_.find(repository);
  if (at == repositories_.end() || at->second.manifests.erase(digest) == 0) return {};
  Changes out{{.key = manifest_key(repository, digest)}};
  std::erase_if(at->second.tags, [&](const auto& item) {
    if (item.second == digest) out.push_back({.key = tag_key(repository, item.first)});
    return item.second == digest;
  });
  forget_if_empty(repository);
  return out;
}

Changes Catalog::remove_tag(const std::string& repository, const std::string& tag) {
  auto at = repositories_.find(repository);
  if (at == repositories_.end() || at->second.tags.erase(tag) == 0) return {};
  return {{.key = tag_key(repository, tag)}};
}

}  // namespace monopod::registry
