#include "api/table/table.h"

#include "api/table/cells.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

// Descriptions are part of the answer's form; ours are short.
void append_columns(std::string& out, const Resource& resource) {
  out += "\"columnDefinitions\":[";
  auto one = [&](std::string_view name, std::string_view type, std::string_view format, int priority, bool first) {
    if (!first) out += ',';
    out += json::format(json::Object{{"name", name}, {"type", type}, {"format", format}, {"description", ""}, {"priority", priority}});
  };
  bool first = true;
  for (const Column& c : resource.columns()) {
    one(c.name(), c.type(), c.format(), c.priority, first);
    first = false;
  }
  if (first) {
    one("Name", "string", "name", 0, true);
    one("Age", "string", "", 0, false);
  }
  out += "],";
}

}  // namespace

Result<IncludeObject> parse_include_object(std::string_view text) {
  if (text.empty() || text == "Metadata") return IncludeObject::kMetadata;
  if (text == "None") return IncludeObject::kNone;
  if (text == "Object") return IncludeObject::kObject;
  return fail(Code::kInvalidArgument, cat("unrecognized includeObject value: \"", text, "\""));
}

json::Value make_partial_metadata(const json::Value& object, std::string_view api_version) {
  const json::Value* meta = json::find(object, {"metadata"});
  return json::Object{{"kind", "PartialObjectMetadata"}, {"apiVersion", api_version}, {"metadata", meta == nullptr ? json::Value(json::Object()) : *meta}};
}

json::Array make_cells(const Resource& resource, const json::Value& object, WallTime now) {
  json::Array cells;
  std::size_t count = resource.columns().empty() ? 2 : resource.columns().size();
  table::fill_cells(resource, object, now, cells);
  while (cells.size() < count) cells.push_back("");
  cells.resize(count);
  return cells;
}

TableWriter::TableWriter(const Resource& resource, const TableOptions& options, WallTime now) : resource_(resource), options_(options), now_(now) {}

void TableWriter::add(const json::Value& object, std::string_view bytes) {
  if (!rows_.empty()) rows_ += ',';
  rows_ += cat("{\"cells\":", json::format(make_cells(resource_, object, now_)));
  switch (options_.include) {
    case IncludeObject::kNone: rows_ += ",\"object\":null}"; break;
    case IncludeObject::kMetadata: rows_ += cat(",\"object\":", json::format(make_partial_metadata(object, options_.api_version)), "}"); break;
    case IncludeObject::kObject: rows_ += cat(",\"object\":", bytes.empty() ? json::format(object) : std::string(bytes), "}"); break;
  }
}

std::string TableWriter::finish(const json::Object& list_metadata) {
  std::string out = cat("{\"kind\":\"Table\",\"apiVersion\":\"", options_.api_version, "\",\"metadata\":", json::format(list_metadata), ",");
  if (options_.headers) append_columns(out, resource_);
  else out += "\"columnDefinitions\":null,";
  out += cat("\"rows\":[", rows_, "]}");
  rows_.clear();
  return out;
}

}  // namespace monopod::api
