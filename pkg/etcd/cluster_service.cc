// Cluster: one member, which stays the only one. What a cluster could do is refused with the text etcd has for it.
#include <algorithm>

#include "base/strings.h"
#include "etcd/methods.h"

namespace monopod::etcd {
namespace {

std::string format_member(const Context& context) {
  return ProtoWriter().unsigned_integer(1, kMemberId).bytes(2, kMemberName).bytes(3, context.options.client_url).bytes(4, context.options.client_url).take();
}

std::string format_header_now(const Context& context) { return format_header(context.backend.current_revision()); }

Error not_found() { return Error(Code::kNotFound, "etcdserver: member not found"); }
Error not_enough_started() {
  return Error(Code::kFailedPrecondition, "etcdserver: re-configuration failed due to not enough started members");
}

Result<std::vector<std::string>> parse_texts(std::string_view message, std::uint32_t field) {
  std::vector<std::string> texts;
  ProtoReader reader(message);
  for (;;) {
    TRY_ASSIGN(bool more, reader.next());
    if (!more) return texts;
    if (reader.field() == field) texts.push_back(reader.text());
  }
}

// As etcd: scheme, host and port, no path.
bool is_peer_url(std::string_view url) {
  for (std::string_view scheme : {"http://", "https://"}) {
    if (!url.starts_with(scheme)) continue;
    url.remove_prefix(scheme.size());
    std::size_t colon = url.rfind(':');
    return colon != std::string_view::npos && colon > 0 && parse_int<std::uint16_t>(url.substr(colon + 1)).has_value();
  }
  return url.starts_with("unix://") || url.starts_with("unixs://");
}

Result<> check_peer_urls(const std::vector<std::string>& urls) {
  if (urls.empty() || !std::ranges::all_of(urls, is_peer_url)) return fail(Code::kInvalidArgument, "etcdserver: given member URLs are invalid");
  return {};
}

Result<> check_member(std::string_view message) {
  TRY_ASSIGN(std::int64_t id, parse_integer(message, 1));
  if (static_cast<std::uint64_t>(id) != kMemberId) return fail(not_found());
  return {};
}

Answer member_list(Context& context, std::string_view) {
  co_return ProtoWriter().message(1, format_header_now(context)).message(2, format_member(context)).take();
}

Answer member_add(Context& context, std::string_view message) {
  CO_TRY_ASSIGN(std::vector<std::string> urls, parse_texts(message, 1));
  CO_TRY_ASSIGN(std::int64_t learner, parse_integer(message, 2));
  CO_TRY(check_peer_urls(urls));
  if (std::ranges::find(urls, context.options.client_url) != urls.end()) co_return fail(Code::kFailedPrecondition, "etcdserver: Peer URLs already exists");
  if (learner) co_return fail(Code::kFailedPrecondition, "etcdserver: too many learner members in cluster");
  co_return fail(not_enough_started());
}

Answer member_remove(Context&, std::string_view message) {
  CO_TRY(check_member(message));
  co_return fail(not_enough_started());
}

Answer member_update(Context&, std::string_view message) {
  CO_TRY_ASSIGN(std::vector<std::string> urls, parse_texts(message, 2));
  CO_TRY(check_peer_urls(urls));
  CO_TRY(check_member(message));
  co_return fail(not_enough_started());
}

Answer member_promote(Context&, std::string_view message) {
  CO_TRY(check_member(message));
  co_return fail(Code::kFailedPrecondition, "etcdserver: can only promote a learner member");
}

}  // namespace

std::span<const Method> cluster_methods() {
  static constexpr Method kMethods[] = {
      {"/etcdserverpb.Cluster/MemberAdd", needs_root, member_add},
      {"/etcdserverpb.Cluster/MemberRemove", needs_root, member_remove},
      {"/etcdserverpb.Cluster/MemberUpdate", needs_root, member_update},
      {"/etcdserverpb.Cluster/MemberList", needs_user, member_list},
      {"/etcdserverpb.Cluster/MemberPromote", needs_root, member_promote},
  };
  return kMethods;
}

}  // namespace monopod::etcd
