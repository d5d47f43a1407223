#include "api/serve/render.h"

#include "api/convert/convert.h"
#include "api/crd/kind.h"
#include "api/protobuf/protobuf.h"
#include "api/protobuf/wire.h"
#include "base/strings.h"
#include "codec/yaml.h"

namespace monopod::api {
namespace {

json::Value requested_tree(const Rendering& how, const Object& object) {
  return is_stored_form(*how.resource) ? object.tree() : to_requested(object.tree(), *how.resource);
}

std::string table_of(const Rendering& how, const Object& object, WallTime now, bool headers) {
  std::string text;
  TableWriter table(text, *how.resource, {.include = how.include, .headers = headers, .api_version = how.media.meta_version()}, json::Object{{"resourceVersion", object.resource_version()}}, now);
  if (is_stored_form(*how.resource)) table.add(object);
  else table.add(requested_tree(how, object));
  table.finish();
  return text;
}

std::string encode_json_frame(EventType type, std::string_view object) {
  return cat("{\"type\":\"", event_type_name(type), "\",\"object\":", object, "}\n");
}

// Length prefix, then WatchEvent { 1: type, 2: RawExtension { 1: object with its envelope } }.
std::string encode_protobuf_frame(std::string_view type, std::string_view object) {
  std::string raw, event;
  wire::put_bytes(raw, 1, object);
  wire::put_bytes(event, 1, type);
  wire::put_bytes(event, 2, raw);
  std::string out;
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>((event.size() >> shift) & 0xff);
  return out + event;
}

json::Value bookmark_object(const Rendering& how, std::int64_t revision, bool initial_events_end) {
  json::Object meta{{"creationTimestamp", nullptr}, {"resourceVersion", std::to_string(revision)}};
  if (initial_events_end) meta["annotations"] = json::Object{{"k8s.io/initial-events-end", "true"}};
  if (how.media.view == View::kPartial)
    return json::Object{{"kind", "PartialObjectMetadata"}, {"apiVersion", how.media.meta_version()}, {"metadata", std::move(meta)}};
  return json::Object{{"kind", how.resource->kind()}, {"apiVersion", how.resource->group_version()}, {"metadata", std::move(meta)}};
}

class ApiForm final : public FrameForm {
 public:
  ApiForm(const Rendering& how, const Clock& clock) : how_(how), clock_(clock) {}

  std::uint64_t id() const override {
    // Unique among the forms of one cache is enough.
    const crd::CustomResource* custom = how_.resource->custom();
    auto row = custom != nullptr ? static_cast<std::uint64_t>(custom->ordinal) : static_cast<std::uint64_t>(how_.resource - resources().data());
    return (row << 16) | (static_cast<std::uint64_t>(how_.media.encoding) << 8) | (static_cast<std::uint64_t>(how_.media.view) << 4) |
           (static_cast<std::uint64_t>(how_.include) << 1) | (how_.media.beta ? 1U : 0U);
  }

  SharedBytes encode(EventType type, const Object& object) const override {
    if (how_.media.view == View::kTable) return share(encode_json_frame(type, table_of(how_, object, clock_.wall(), false)));
    Outcome<SharedBytes> bytes = render_object(how_, object, clock_.wall());
    if (!bytes) return encode_error_frame(how_.media, bytes.error());
    if (how_.media.encoding == Encoding::kProtobuf) return share(encode_protobuf_frame(event_type_name(type), **bytes));
    return share(encode_json_frame(type, **bytes));
  }

  SharedBytes encode_bookmark(std::int64_t revision, bool initial_events_end) const override {
    json::Value object = bookmark_object(how_, revision, initial_events_end);
    if (how_.media.view == View::kTable) {
      std::string text;
      TableWriter table(text, *how_.resource, {.include = IncludeObject::kNone, .headers = false, .api_version = how_.media.meta_version()}, json::Object{{"resourceVersion", std::to_string(revision)}},
                        clock_.wall());
      if (initial_events_end) table.add(object);  // the annotation travels in a row's object
      table.finish();
      return share(encode_json_frame(EventType::kBookmark, text));
    }
    if (how_.media.encoding == Encoding::kProtobuf) {
      Outcome<SharedBytes> bytes = render_tree(how_.media, object);
      if (bytes) return share(encode_protobuf_frame("BOOKMARK", **bytes));
    }
    return share(encode_json_frame(EventType::kBookmark, json::format(object)));
  }

 private:
  Rendering how_;
  const Clock& clock_;
};

Outcome<SharedBytes> in_protobuf(Result<std::string> bytes) {
  if (!bytes) return refuse(internal(bytes.error().message()));
  return share(std::move(*bytes));
}

Outcome<SharedBytes> in_encoding(const Media& media, json::Value tree, const Type* type) {
  if (media.encoding == Encoding::kYaml) return share(yaml::format(tree));
  if (media.encoding == Encoding::kProtobuf && type != nullptr) return in_protobuf(encode_protobuf(tree, *type));
  return share(json::format(tree));
}

}  // namespace

Outcome<SharedBytes> render_object(const Rendering& how, const Object& object, WallTime now) {
  switch (how.media.view) {
    case View::kTable: return share(table_of(how, object, now, true));
    case View::kPartial: {
      const Type* type = find_type("meta.k8s.io", "v1", "PartialObjectMetadata");
      if (how.media.encoding == Encoding::kProtobuf)
        return in_protobuf(encode_protobuf(*object.json(), how.media.meta_version(), "PartialObjectMetadata", *type));
      return in_encoding(how.media, make_partial_metadata(object.tree(), how.media.meta_version()), type);
    }
    case View::kObject: break;
  }
  if (how.media.encoding == Encoding::kJson) return requested_json(how, object);
  if (how.media.encoding == Encoding::kProtobuf)
    return in_protobuf(encode_protobuf(*requested_json(how, object), how.resource->group_version(), how.resource->kind(), how.resource->type()));
  return in_encoding(how.media, requested_tree(how, object), &how.resource->type());
}

Outcome<SharedBytes> render_tree(const Media& media, const json::Value& tree) {
  GroupVersion version = split_group_version(json::get_string(tree, {"apiVersion"}));
  return in_encoding(media, tree, find_type(version.group, version.version, json::get_string(tree, {"kind"})));
}

SharedBytes requested_json(const Rendering& how, const Object& object) {
  if (is_stored_form(*how.resource)) return object.json();
  return share(json::format(to_requested(object.tree(), *how.resource)));
}

json::Object list_metadata(const ListResult& list) {
  json::Object meta;
  if (!list.resource_version.empty()) meta["resourceVersion"] = list.resource_version;
  if (!list.continue_token.empty()) meta["continue"] = list.continue_token;
  if (list.remaining) meta["remainingItemCount"] = *list.remaining;
  return meta;
}

std::string list_head(const Rendering& how, const ListResult& list) {
  bool partial = how.media.view == View::kPartial;
  std::string kind = partial ? "PartialObjectMetadataList" : how.resource->list_kind();
  std::string_view version = partial ? how.media.meta_version() : how.resource->group_version();
  return cat("{\"kind\":\"", kind, "\",\"apiVersion\":\"", version, "\",\"metadata\":", json::format(list_metadata(list)), ",\"items\":[");
}

SharedBytes list_item(const Rendering& how, const Object& object) {
  if (how.media.view == View::kPartial) return share(json::format(make_partial_metadata(object.tree(), how.media.meta_version())));
  return requested_json(how, object);
}

std::shared_ptr<const FrameForm> make_frame_form(const Rendering& how, const Clock& clock) { return std::make_shared<ApiForm>(how, clock); }

SharedBytes encode_first_table_frame(const Rendering& how, EventType type, const Object& object, WallTime now) {
  return share(encode_json_frame(type, table_of(how, object, now, true)));
}

SharedBytes encode_error_frame(const Media& media, const Status& status) {
  if (media.encoding == Encoding::kProtobuf)
    if (Outcome<SharedBytes> bytes = render_tree(media, status.tree())) return share(encode_protobuf_frame("ERROR", **bytes));
  return share(cat("{\"type\":\"ERROR\",\"object\":", status.json(), "}\n"));
}

}  // namespace monopod::api
