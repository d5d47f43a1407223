// The writing half of RegistryClient.
//
//   HEAD blob: there? -> POST ?mount=: mounted? -> PATCH all of it -> PUT ?digest=
//                        where a PATCH breaks off: GET the upload's Range, PATCH the rest
#include "base/strings.h"
#include "http/query.h"
#include "image/registry.h"

namespace monopod::image {
namespace {

using async::Task;

constexpr int kResumesMax = 4;

std::string location_of(const http::Response& response) { return std::string(response.headers.find("location").value_or("")); }

// Bytes that the registry has, of "0-99" or "bytes=0-99".
std::optional<std::uint64_t> bytes_held(const http::Response& response) {
  std::string_view text = response.headers.find("range").value_or("");
  if (text.starts_with("bytes=")) text.remove_prefix(6);
  auto [first, last] = split_once(text, '-');
  auto end = parse_int<std::uint64_t>(last.value_or(""));
  if (first != "0" || !end) return std::nullopt;
  return *end == 0 ? 0 : *end + 1;  // "0-0" is said of nothing, too
}

Task<std::unexpected<Error>> refused(http::Response response, std::string what) {
  Error error = co_await error_of(std::move(response));
  co_return fail(std::move(error).with(what));
}

}  // namespace

Task<Result<bool>> RegistryClient::has_blob(std::string digest) {
  CO_TRY_ASSIGN(http::Response response, co_await send("HEAD", cat("/v2/", reference_.path, "/blobs/", digest)));
  if (response.status == 200 || (response.status >= 301 && response.status <= 308)) co_return true;  // a redirect leads to where it is
  if (response.status == 404) co_return false;
  co_return co_await refused(std::move(response), cat("blob ", digest));
}

// The location to send to; empty where the blob was mounted.
Task<Result<std::string>> RegistryClient::begin_upload(const BlobToPush& blob, bool mount) {
  std::string target = cat("/v2/", reference_.path, "/blobs/uploads/");
  if (mount) target += cat("?mount=", http::encode_query_component(blob.digest), "&from=", http::encode_query_component(options_.mount_from));
  CO_TRY_ASSIGN(http::Response response, co_await send("POST", std::move(target), {{"content-length", "0"}}, share("")));
  if (response.status == 201 && mount) co_return std::string();
  if (response.status != 202) co_return co_await refused(std::move(response), cat("blob ", blob.digest));
  std::string location = location_of(response);
  if (location.empty()) co_return fail(Code::kUnavailable, cat("blob ", blob.digest, ": the registry names no location to send it to"));
  co_return location;
}

Task<Result<http::Response>> RegistryClient::stream(const std::string& url, const BlobToPush& blob, std::uint64_t offset) {
  CO_TRY_ASSIGN(Target to, target_for(url));
  http::ClientRequest request{.method = "PATCH", .target = to.path};
  request.headers.set("content-type", "application/octet-stream");
  request.headers.set("content-length", std::to_string(blob.size - offset));
  if (offset > 0) request.headers.set("content-range", cat(offset, "-", blob.size - 1));
  if (to.own && !authorization_.empty()) request.headers.set("authorization", authorization_);
  CO_TRY_ASSIGN(std::unique_ptr<http::Call> call, co_await to.client->open(std::move(request)));
  Result<> sent;
  while (sent && offset < blob.size) {
    CO_TRY_ASSIGN(std::string bytes, co_await blob.read(offset));
    offset += bytes.size();
    sent = co_await async::with_timeout<void>(time_, options_.stall_timeout, "the registry stalls", call->write(share(std::move(bytes))));
    if (sent && blob.progress) blob.progress(offset);
  }
  if (sent) sent = co_await call->finish();
  // A registry that refuses says so and stops reading.
  Result<http::Response> response = co_await call->response();
  if (!response && !sent) co_return fail(std::move(sent).error());
  co_return response;
}

Task<Result<>> RegistryClient::push_blob(const BlobToPush& blob) {
  CO_TRY_ASSIGN(std::string location, co_await begin_upload(blob, !options_.mount_from.empty()));
  if (location.empty()) co_return Result<>{};
  std::uint64_t offset = 0;
  for (int tries = 0; offset < blob.size;) {
    Result<http::Response> response = co_await stream(location, blob, offset);
    if (response && response->status == 202) {
      if (std::string next = location_of(*response); !next.empty()) location = std::move(next);
      break;
    }
    bool busy = response && (response->status == 401 || response->status == 416 || response->status == 429 || response->status >= 500);
    bool lost = !response && response.error().code() != Code::kCancelled && response.error().code() != Code::kDataLoss;  // that is said of the blob itself
    if ((!busy && !lost) || tries++ == kResumesMax) {
      if (!response) co_return fail(std::move(response).error().with(cat("blob ", blob.digest)));
      co_return co_await refused(*std::move(response), cat("blob ", blob.digest));
    }
    // Where is it now? This asks for a new token too, should the old one have run out.
    CO_TRY_ASSIGN(http::Response status, co_await send("GET", location));
    auto held = bytes_held(status);
    if (status.status == 204 && held && *held <= blob.size) {
      offset = *held;
      if (std::string next = location_of(status); !next.empty()) location = std::move(next);
    } else {
      CO_TRY_ASSIGN(location, co_await begin_upload(blob, false));
      offset = 0;
    }
  }
  std::string target = cat(location, location.find('?') == std::string::npos ? "?" : "&", "digest=", http::encode_query_component(blob.digest));
  CO_TRY_ASSIGN(http::Response response, co_await send("PUT", std::move(target), {{"content-length", "0"}}, share("")));
  if (response.status != 201 && response.status != 204) co_return co_await refused(std::move(response), cat("blob ", blob.digest));
  co_return Result<>{};
}

Task<Result<>> RegistryClient::put_manifest(std::string tag_or_digest, std::string media_type, std::string text) {
  CO_TRY_ASSIGN(http::Response response, co_await send("PUT", cat("/v2/", reference_.path, "/manifests/", tag_or_digest), {{"content-type", media_type}}, share(std::move(text))));
  if (response.status != 201) co_return co_await refused(std::move(response), "manifest");
  co_return Result<>{};
}

}  // namespace monopod::image
