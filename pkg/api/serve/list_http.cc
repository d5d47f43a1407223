// A list as an answer, in slices: nothing is encoded that the cache already holds, and no turn of the loop takes long.
#include "api/convert/convert.h"
#include "api/limits.h"
#include "api/protobuf/protobuf.h"
#include "api/serve/works.h"
#include "api/slice.h"
#include "base/strings.h"
#include "codec/compress.h"
#include "codec/yaml.h"

namespace monopod::api {
namespace {

class AppendTo final : public codec::ByteSink {
 public:
  explicit AppendTo(std::string& out) : out_(out) {}
  Result<> write(std::span<const std::byte> bytes) override {
    out_ += as_text(bytes);
    return {};
  }

 private:
  std::string& out_;
};

// Collects text up to a chunk and sends chunk by chunk; small answers go out whole. gzip where the client takes it and the
// answer is large, as upstream.
class ListWriter {
 public:
  ListWriter(HttpCall& call, http::Headers headers, bool gzip) : call_(call), headers_(std::move(headers)), gzip_(gzip), sink_(packed_) {}

  std::string& text() { return chunk_; }
  bool full() const { return chunk_.size() >= (call_.exchange.started() ? kListChunkBytes : kGzipBytesMin); }

  // Texts go to the audit log also, where it wants answers.
  void tell(audit::Record* record) { record_ = record; }

  async::Task<Outcome<>> flush() {
    if (record_ != nullptr) record_->response(chunk_);
    if (!call_.exchange.started()) {
      call_.code = 200;
      add_flow_headers(call_, headers_);
      if (gzip_) {
        headers_.set("content-encoding", "gzip");
        headers_.add("vary", "Accept-Encoding");
        compressor_ = codec::make_compressor(codec::Compression::kGzip, sink_, {.level = 1});
      }
      CO_OUT(co_await call_.exchange.start(200, headers_));
    }
    if (compressor_) {
      CO_OUT(compressor_->write(as_bytes(chunk_)));
      chunk_.swap(packed_);
      packed_.clear();
    }
    if (!chunk_.empty()) {
      std::string out;
      out.swap(chunk_);
      CO_OUT(co_await call_.exchange.write(share(std::move(out))));
      chunk_.reserve(kListChunkBytes + (kListChunkBytes >> 2));
    }
    co_return Outcome<>();
  }

  async::Task<Outcome<>> finish() {
    if (!call_.exchange.started() && chunk_.size() < kGzipBytesMin) {
      if (record_ != nullptr) record_->response(chunk_);
      co_return co_await respond(call_, 200, std::move(headers_), share(std::move(chunk_)));
    }
    CO_OUT(co_await flush());
    if (compressor_) {
      CO_OUT(compressor_->finish());
      CO_OUT(co_await call_.exchange.write(share(std::move(packed_))));
    }
    CO_OUT(co_await call_.exchange.finish());
    co_return Outcome<>();
  }

 private:
  HttpCall& call_;
  audit::Record* record_ = nullptr;
  http::Headers headers_;
  bool gzip_;
  std::string chunk_;
  std::string packed_;
  AppendTo sink_;
  std::unique_ptr<codec::Compressor> compressor_;
};

async::Task<Outcome<>> write_json(ListWriter& out, const Rendering& how, const ListResult& list) {
  Slice slice;
  out.text() += list_head(how, list);
  bool first = true;
  for (const ObjectPtr& object : list.items) {
    if (!first) out.text() += ',';
    first = false;
    out.text() += *list_item(how, *object);
    if (out.full()) CO_OUT(co_await out.flush());
    if (slice.spent()) CO_OUT(co_await slice.yield());
  }
  out.text() += "]}";
  co_return co_await out.finish();
}

async::Task<Outcome<>> write_table(ListWriter& out, const Rendering& how, const ListResult& list, WallTime now) {
  Slice slice;
  TableWriter table(out.text(), *how.resource, {.include = how.include, .headers = true, .api_version = how.media.meta_version()}, list_metadata(list), now);
  bool same = is_stored_form(*how.resource);
  for (const ObjectPtr& object : list.items) {
    if (same) table.add(*object);
    else table.add(to_requested(object->tree(), *how.resource));
    if (out.full()) CO_OUT(co_await out.flush());
    if (slice.spent()) CO_OUT(co_await slice.yield());
  }
  table.finish();
  co_return co_await out.finish();
}

// Any list kind: 1: ListMeta, 2: items. The length stands in front, so all is encoded before the first byte goes out.
async::Task<Outcome<>> write_protobuf(ListWriter& out, const Rendering& how, const ListResult& list) {
  Slice slice;
  bool partial = how.media.view == View::kPartial;
  std::string kind = partial ? "PartialObjectMetadataList" : cat(how.resource->kind(), "List");
  std::string_view version = partial ? how.media.meta_version() : how.resource->group_version();
  const Type& type = partial ? *find_type("meta.k8s.io", "v1", "PartialObjectMetadata") : how.resource->type();
  std::vector<std::string> parts(1);
  CO_OUT(append_protobuf_field(parts[0], 1, json::format(list_metadata(list)), *find_type("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta")));
  std::size_t size = 0;
  for (const ObjectPtr& object : list.items) {
    if (parts.back().size() >= kListChunkBytes) {
      size += parts.back().size();
      parts.emplace_back().reserve(kListChunkBytes + (kListChunkBytes >> 2));
    }
    SharedBytes text = requested_json(how, *object);
    CO_OUT(append_protobuf_field(parts.back(), 2, *text, type));
    if (slice.spent()) CO_OUT(co_await slice.yield());
  }
  out.text() = protobuf_envelope(version, kind, size + parts.back().size());
  for (std::string& part : parts) {
    if (out.text().empty()) out.text() = std::move(part);
    else out.text() += part;
    part = std::string();
    if (out.full()) CO_OUT(co_await out.flush());
  }
  out.text() += kProtobufEnvelopeEnd;
  co_return co_await out.finish();
}

async::Task<Outcome<>> write_yaml(ListWriter& out, const Rendering& how, const ListResult& list) {
  json::Array items;
  for (const ObjectPtr& object : list.items) items.push_back(to_requested(object->tree(), *how.resource));
  json::Value tree = json::Object{{"apiVersion", how.resource->group_version()}, {"items", std::move(items)},
                                  {"kind", how.resource->list_kind()}, {"metadata", list_metadata(list)}};
  out.text() = yaml::format(tree);
  co_return co_await out.finish();
}

// JSON is told as it is sent; what is sent otherwise is told as JSON before.
async::Task<Outcome<>> record_list(HttpCall& call, const Rendering& how, const ListResult& list, ListWriter& out) {
  if (how.media.encoding == Encoding::kJson) {
    out.tell(call.record);
    co_return Outcome<>();
  }
  Slice slice;
  call.record->response(list_head(how, list));
  for (const ObjectPtr& object : list.items) {
    if (object != list.items.front()) call.record->response(",");
    call.record->response(*list_item(how, *object));
    if (slice.spent()) CO_OUT(co_await slice.yield());
  }
  call.record->response("]}");
  co_return Outcome<>();
}

}  // namespace

async::Task<Outcome<>> serve_list(HttpCall& call, Call& api_call) {
  const QueryParams& query = call.info.query;
  CO_OUT_ASSIGN(Media media, negotiate(accept_of(call.exchange.request()), {.views = true, .protobuf = !api_call.resource->is_custom}));
  auto include = parse_include_object(query.get("includeObject"));
  if (!include) co_return refuse(bad_request(include.error().message()));
  Rendering how{api_call.resource, media, *include};
  ListOptions options{.label_selector = query.get("labelSelector"),
                      .field_selector = query.get("fieldSelector"),
                      .resource_version = query.get("resourceVersion"),
                      .resource_version_match = query.get("resourceVersionMatch"),
                      .continue_token = query.get("continue")};
  if (query.flag("sendInitialEvents"))
    co_return refuse(bad_request("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"));
  if (std::string limit = query.get("limit"); !limit.empty()) {
    auto parsed = parse_int<std::int64_t>(limit);
    if (!parsed) co_return refuse(bad_request(cat("strconv.ParseInt: parsing \"", limit, "\": invalid syntax")));
    options.limit = *parsed;
  }
  if (std::string seconds = query.get("timeoutSeconds"); !seconds.empty() && !parse_int<std::int64_t>(seconds))
    co_return refuse(bad_request(cat("strconv.ParseInt: parsing \"", seconds, "\": invalid syntax")));
  CO_OUT_ASSIGN(ListResult list, co_await call.works.registry.list(api_call, std::move(options)));
  http::Headers headers{{"content-type", content_type_of(media.encoding)}};
  add_warnings(headers, api_call.warnings);
  ListWriter out(call, std::move(headers), accepts_gzip(call.exchange.request()));
  if (call.record != nullptr && call.record->wants_response()) CO_OUT(co_await record_list(call, how, list, out));
  if (media.view == View::kTable) co_return co_await write_table(out, how, list, call.works.parts.time.wall());
  if (media.encoding == Encoding::kProtobuf) co_return co_await write_protobuf(out, how, list);
  if (media.encoding == Encoding::kYaml) co_return co_await write_yaml(out, how, list);
  co_return co_await write_json(out, how, list);
}

}  // namespace monopod::api
