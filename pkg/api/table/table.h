// as=Table: objects as rows of cells, as kubectl get prints them. Columns are the tables' facts; cells of the known kinds are
// computed as upstream's printers do; every other kind shows name and age.
#pragma once

#include <string_view>

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

// Writes a Table as text, row by row, with no tree for the whole: begin, then add() for each object, then finish().
class TableWriter {
 public:
  TableWriter(const Resource& resource, const TableOptions& options, WallTime now);
  // `object` parsed; `bytes` its canonical text where the caller has it (used for kObject), else empty.
  void add(const json::Value& object, std::string_view bytes = {});
  // list_metadata: resourceVersion, continue, remainingItemCount of the list; for one object its resourceVersion.
  std::string finish(const json::Object& list_metadata);

 private:
  const Resource& resource_;
  TableOptions options_;
  WallTime now_;
  std::string rows_;
};

// The cells of one object: one value for each column.
json::Array make_cells(const Resource& resource, const json::Value& object, WallTime now);
// {"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{…}}
json::Value make_partial_metadata(const json::Value& object, std::string_view api_version = "meta.k8s.io/v1");

}  // namespace monopod::api
