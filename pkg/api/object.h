// An API object as the server keeps it: immutable canonical JSON bytes, shared by the watch cache, every list, get and
// watcher, plus the few values that selectors and controllers look at, cut out once so that nothing parses the bytes again.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "codec/json_arena.h"

namespace monopod::api {

// group "" is the core group. plural as in URLs: {"apps", "v1", "deployments"}.
struct ResourceName {
  std::string group;
  std::string version;
  std::string plural;
  auto operator<=>(const ResourceName&) const = default;
};

struct OwnerReference {
  std::string api_version;
  std::string kind;
  std::string name;
  std::string uid;
  bool controller = false;
  bool block_owner_deletion = false;
};

struct TableRow;  // table/table.h

class Object {
 public:
  using Pairs = std::vector<std::pair<std::string_view, std::string_view>>;

  // Cuts an object out of its JSON (any member order). revision 0: taken from metadata.resourceVersion.
  // extra_fields: dotted paths beside metadata.name/namespace that field selectors of this kind may name.
  static Result<std::shared_ptr<const Object>> parse(SharedBytes json, std::int64_t revision = 0,
                                                     const std::vector<std::string_view>& extra_fields = {});
  // From what the store holds (no resourceVersion inside): splices revision into metadata, then parse().
  static Result<std::shared_ptr<const Object>> from_store(std::string_view stored, std::int64_t revision,
                                                          const std::vector<std::string_view>& extra_fields = {});

  const SharedBytes& json() const { return json_; }
  std::int64_t revision() const { return revision_; }
  std::string resource_version() const { return std::to_string(revision_); }

  std::string_view name() const { return std::string_view(key_).substr(ns_size_ + 1); }
  std::string_view ns() const { return std::string_view(key_).substr(0, ns_size_); }  // empty for cluster scope
  std::string_view key() const { return ns_size_ == 0 ? name() : std::string_view(key_); }  // "ns/name" or "name"; list order
  std::string_view uid() const { return uid_; }
  bool deleting() const { return deleting_; }  // metadata.deletionTimestamp is set

  std::optional<std::string_view> label(std::string_view name) const;
  Pairs labels() const;
  // The field selector value of a dotted path ("spec.nodeName"); "" where the object does not set it.
  std::string_view field(std::string_view path) const;

  // A tree for the moment of work; parses the bytes (about 5 microseconds a KB). Empty object on the impossible.
  json::Value tree() const;

  // The same in an arena, for a quarter less: neither it nor what is moved out of it may outlive the arena.
  json::Value tree(json::Arena& arena) const;

  // The digests of the apply last seen to change nothing of it (registry/reapply.cc); empty: of none. On the loop only.
  std::string_view unchanged_by() const { return unchanged_by_ ? std::string_view(*unchanged_by_) : std::string_view(); }
  void keep_unchanged_by(std::string digest) const { unchanged_by_ = std::make_unique<const std::string>(std::move(digest)); }

  // What tables show of it, made when first asked for; null before. On the loop only.
  const std::shared_ptr<const TableRow>& row() const { return row_; }
  void keep_row(std::shared_ptr<const TableRow> row) const { row_ = std::move(row); }

  Object() = default;  // use parse()

 private:
  friend struct ObjectBuilder;
  SharedBytes json_;
  std::string key_;     // "<ns>/<name>"
  std::string uid_;
  std::string labels_;  // name\0value\0...
  std::string fields_;  // path\0value\0...
  std::int64_t revision_ = 0;
  mutable std::shared_ptr<const TableRow> row_;
  mutable std::unique_ptr<const std::string> unchanged_by_;
  std::uint32_t ns_size_ = 0;
  bool deleting_ = false;
};

using ObjectPtr = std::shared_ptr<const Object>;

}  // namespace monopod::api
