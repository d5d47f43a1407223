#include "api/table/table.h"

#include "api/crd/columns.h"
#include "api/scan.h"
#include "api/table/cells.h"
#include "base/strings.h"

namespace monopod::api {
namespace {

// Descriptions are part of the answer's form; ours are short.
json::Object column(std::string_view name, std::string_view type, std::string_view format, int priority) {
  return {{"name", name}, {"type", type}, {"format", format}, {"description", ""}, {"priority", priority}};
}

void append_columns(std::string& out, const Resource& resource) {
  out += "\"columnDefinitions\":[";
  auto one = [&](std::string_view name, std::string_view type, std::string_view format, int priority, bool first) {
    if (!first) out += ',';
    out += json::format(column(name, type, format, priority));
  };
  bool first = true;
  for (const Column& c : resource.columns()) {
    one(c.name(), c.type(), c.format(), c.priority, first);
    first = false;
  }
  if (const crd::CustomResource* custom = resource.custom()) {
    one("Name", "string", "name", 0, true);
    for (const crd::CustomColumn& c : crd::columns_of(*custom)) one(c.name, c.type, c.format, c.priority, false);
  } else if (first) {
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

namespace {

json::Array make_cells(const Resource& resource, const json::Value& object, table::Ages& ages) {
  json::Array cells;
  std::size_t count = resource.is_custom ? crd::columns_of(*resource.custom()).size() + 1 : resource.columns().empty() ? 2 : resource.columns().size();
  table::fill_cells(resource, object, ages, cells);
  while (cells.size() < count) cells.push_back("");
  cells.resize(count);
  return cells;
}

TableRow make_row(const Resource& resource, const json::Value& object, WallTime now) {
  table::Ages ages(now);
  json::Array cells = make_cells(resource, object, ages);
  TableRow row{.of = &resource, .created = std::nullopt, .good_until = ages.good_until()};
  if (auto created = parse_rfc3339(json::get_string(object, {"metadata", "creationTimestamp"})); created && ages.object_cell() && *ages.object_cell() < cells.size()) row.created = *created;
  std::string* out = &row.before;
  *out += '[';
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) *out += ',';
    if (row.created && i == *ages.object_cell()) out = &row.after;
    else *out += json::format(cells[i]);
  }
  *out += ']';
  return row;
}

// Cells look at nothing in managedFields, often half of an object.
json::Value tree_for_cells(std::string_view text) {
  std::string_view managed = scan_path(text, "metadata.managedFields");
  std::string rest;
  if (!managed.empty()) {
    auto at = static_cast<std::size_t>(managed.data() - text.data());
    rest = cat(text.substr(0, at), "[]", text.substr(at + managed.size()));
  }
  Result<json::Value> tree = json::parse(managed.empty() ? text : rest);
  return tree ? std::move(*tree) : json::Value(json::Object());
}

}  // namespace

std::string make_scale_table(const json::Value& scale, const TableOptions& options, WallTime now) {
  auto created = parse_rfc3339(json::get_string(scale, {"metadata", "creationTimestamp"}));
  json::Array cells{json::get_string(scale, {"metadata", "name"}), json::get_int(scale, {"spec", "replicas"}), json::get_int(scale, {"status", "replicas"}),
                    created ? format_age(now - *created) : "<unknown>"};
  json::Value object;
  if (options.include == IncludeObject::kMetadata) object = make_partial_metadata(scale, options.api_version);
  if (options.include == IncludeObject::kObject) object = scale;
  return json::format(json::Object{{"kind", "Table"},
                                   {"apiVersion", options.api_version},
                                   {"metadata", json::Object{{"resourceVersion", json::get_string(scale, {"metadata", "resourceVersion"})}}},
                                   {"columnDefinitions", json::Array{column("Name", "string", "", 0), column("Desired", "integer", "", 0), column("Available", "integer", "", 0), column("Age", "string", "", 0)}},
                                   {"rows", json::Array{json::Object{{"cells", std::move(cells)}, {"object", std::move(object)}}}}});
}

json::Array make_cells(const Resource& resource, const json::Value& object, WallTime now) {
  table::Ages ages(now);
  return make_cells(resource, object, ages);
}

TableWriter::TableWriter(std::string& out, const Resource& resource, const TableOptions& options, const json::Object& list_metadata, WallTime now)
    : out_(out), resource_(resource), options_(options), now_(now) {
  out_ += cat("{\"kind\":\"Table\",\"apiVersion\":\"", options_.api_version, "\",\"metadata\":", json::format(list_metadata), ",");
  if (options_.headers) append_columns(out_, resource_);
  else out_ += "\"columnDefinitions\":null,";
  out_ += "\"rows\":[";
}

void TableWriter::begin_row() {
  out_ += first_ ? "{\"cells\":" : ",{\"cells\":";
  first_ = false;
}

void TableWriter::add_cells(const TableRow& row) {
  out_ += row.before;
  if (!row.created) return;
  out_ += '"';
  out_ += format_age(now_ - *row.created);
  out_ += '"';
  out_ += row.after;
}

void TableWriter::add(const Object& object) {
  std::string_view text = *object.json();
  if (!object.row() || object.row()->good_until <= now_ || object.row()->of != &resource_) {
    auto made = std::make_shared<TableRow>(make_row(resource_, tree_for_cells(text), now_));
    made->metadata = scan_path(text, "metadata");
    object.keep_row(std::move(made));
  }
  const TableRow& row = *object.row();
  begin_row();
  add_cells(row);
  switch (options_.include) {
    case IncludeObject::kNone: out_ += ",\"object\":null}"; break;
    case IncludeObject::kMetadata:
      out_ += ",\"object\":{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"";
      out_ += options_.api_version;
      out_ += "\",\"metadata\":";
      out_ += row.metadata;
      out_ += "}}";
      break;
    case IncludeObject::kObject:
      out_ += ",\"object\":";
      out_ += text;
      out_ += '}';
      break;
  }
}

void TableWriter::add(const json::Value& object) {
  begin_row();
  add_cells(make_row(resource_, object, now_));
  switch (options_.include) {
    case IncludeObject::kNone: out_ += ",\"object\":null}"; break;
    case IncludeObject::kMetadata: out_ += cat(",\"object\":", json::format(make_partial_metadata(object, options_.api_version)), "}"); break;
    case IncludeObject::kObject: out_ += cat(",\"object\":", json::format(object), "}"); break;
  }
}

}  // namespace monopod::api
