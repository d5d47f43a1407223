// as=Table: objects as rows of cells, as kubectl get prints them. Columns are the tables' facts; cells of the known kinds are
// computed as upstream's printers do; every other kind shows name and age.
#pragma once

#include <optional>
#include <string_view>

#include "api/object.h"
#include "api/schema/schema.h"
#include "base/clock.h"
#include "base/error.h"
#include "codec/json.h"

namespace monopod::api {

enum class IncludeObject { kNone, kMetadata, kObject };
Result<IncludeObject> parse_include_object(std::string_view text);  // empty is kMetadata

struct TableOptions {
  IncludeObject include = IncludeObject::kMetadata;
  bool headers = true;                             // columnDefinitions: a watch sends them in its first event only
  std::string_view api_version = "meta.k8s.io/v1"; // or v1beta1
};

// The text of an object's cells. Kept with the object: what ages is its own age, written anew each time, and rarely another.
struct TableRow {
  const Resource* of = nullptr;      // a custom kind's columns may have changed under a request
  std::string before{};              // [...,
  std::string after{};               // ,...]
  std::optional<WallTime> created{}; // the age between the two; none: before is all
  WallTime good_until{};
  std::string_view metadata{};       // in the text of the object that it is kept with
};

// Appends a Table to a text that may be sent away in between: the head at once, add() for each object, then finish().
class TableWriter {
 public:
  // list_metadata: resourceVersion, continue, remainingItemCount of the list; for one object its resourceVersion.
  TableWriter(std::string& out, const Resource& resource, const TableOptions& options, const json::Object& list_metadata, WallTime now);
  // In the form that is stored.
  void add(const Object& object);
  void add(const json::Value& object);
  void finish() { out_ += "]}"; }

 private:
  void begin_row();
  void add_cells(const TableRow& row);

  std::string& out_;
  const Resource& resource_;
  TableOptions options_;
  WallTime now_;
  bool first_ = true;
};

// A Table of the one Scale that `kubectl get --subresource=scale` asks for.
std::string make_scale_table(const json::Value& scale, const TableOptions& options, WallTime now);

// The cells of one object: one value for each column.
json::Array make_cells(const Resource& resource, const json::Value& object, WallTime now);
// {"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{…}}
json::Value make_partial_metadata(const json::Value& object, std::string_view api_version = "meta.k8s.io/v1");

}  // namespace monopod::api
