// Objects as answers: the requested version, view and encoding. Stored-version JSON is the cache's own bytes.
#pragma once

#include "api/cache/frame.h"
#include "api/local.h"
#include "api/schema/schema.h"
#include "api/serve/negotiate.h"
#include "api/table/table.h"
#include "async/time.h"

namespace monopod::api {

struct Rendering {
  const Resource* resource = nullptr;  // as requested
  Media media;
  IncludeObject include = IncludeObject::kMetadata;  // of a Table's rows
};

// One object. now: ages in a Table.
Outcome<SharedBytes> render_object(const Rendering& how, const Object& object, WallTime now);
// A tree that is no stored object (Scale, TokenRequest, Status, reviews): JSON, YAML or protobuf by its apiVersion and kind.
Outcome<SharedBytes> render_tree(const Media& media, const json::Value& tree);

// The text of a JSON list's head up to its first item; `]}` ends it.
std::string list_head(const Rendering& how, const ListResult& list);
// The object's JSON in the version that was requested: shared with the cache where that is the stored one.
SharedBytes requested_json(const Rendering& how, const Object& object);
// One item's bytes in a JSON list.
SharedBytes list_item(const Rendering& how, const Object& object);
json::Object list_metadata(const ListResult& list);

// Watch frames of this rendering. Table frames carry no column definitions; with_headers makes the first frame of a watch.
std::shared_ptr<const FrameForm> make_frame_form(const Rendering& how, const Clock& clock);
SharedBytes encode_first_table_frame(const Rendering& how, EventType type, const Object& object, WallTime now);
// {"type":"ERROR","object":{Status}}
SharedBytes encode_error_frame(const Media& media, const Status& status);

}  // namespace monopod::api
