#include "etcd/gateway/schema.h"

#include <unordered_map>

namespace monopod::etcd::schema {
namespace {

constexpr Field kHeader = {"header", 1, Type::kMessage, "etcdserverpb.ResponseHeader"};

constexpr Field many(Field field) {
  field.repeated = true;
  return field;
}
constexpr Field one_of(std::string_view name, Field field) {
  field.oneof = name;
  return field;
}

constexpr Enum kEnums[] = {
    {"mvccpb.Event.EventType", {{"PUT", 0}, {"DELETE", 1}}},
    {"authpb.Permission.Type", {{"READ", 0}, {"WRITE", 1}, {"READWRITE", 2}}},
    {"etcdserverpb.RangeRequest.SortOrder", {{"NONE", 0}, {"ASCEND", 1}, {"DESCEND", 2}}},
    {"etcdserverpb.RangeRequest.SortTarget", {{"KEY", 0}, {"VERSION", 1}, {"CREATE", 2}, {"MOD", 3}, {"VALUE", 4}}},
    {"etcdserverpb.Compare.CompareResult", {{"EQUAL", 0}, {"GREATER", 1}, {"LESS", 2}, {"NOT_EQUAL", 3}}},
    {"etcdserverpb.Compare.CompareTarget", {{"VERSION", 0}, {"CREATE", 1}, {"MOD", 2}, {"VALUE", 3}, {"LEASE", 4}}},
    {"etcdserverpb.WatchCreateRequest.FilterType", {{"NOPUT", 0}, {"NODELETE", 1}}},
    {"etcdserverpb.AlarmType", {{"NONE", 0}, {"NOSPACE", 1}, {"CORRUPT", 2}}},
    {"etcdserverpb.AlarmRequest.AlarmAction", {{"GET", 0}, {"ACTIVATE", 1}, {"DEACTIVATE", 2}}},
    {"etcdserverpb.DowngradeRequest.DowngradeAction", {{"VALIDATE", 0}, {"ENABLE", 1}, {"CANCEL", 2}}},
};

constexpr Message kMessages[] = {
    {"mvccpb.KeyValue",
     {{"key", 1, Type::kBytes}, {"create_revision", 2, Type::kInt64}, {"mod_revision", 3, Type::kInt64}, {"version", 4, Type::kInt64},
      {"value", 5, Type::kBytes}, {"lease", 6, Type::kInt64}}},
    {"mvccpb.Event",
     {{"type", 1, Type::kEnum, "mvccpb.Event.EventType"}, {"kv", 2, Type::kMessage, "mvccpb.KeyValue"},
      {"prev_kv", 3, Type::kMessage, "mvccpb.KeyValue"}}},
    {"authpb.UserAddOptions", {{"no_password", 1, Type::kBool}}},
    {"authpb.Permission", {{"permType", 1, Type::kEnum, "authpb.Permission.Type"}, {"key", 2, Type::kBytes}, {"range_end", 3, Type::kBytes}}},
    {"etcdserverpb.ResponseHeader",
     {{"cluster_id", 1, Type::kUint64}, {"member_id", 2, Type::kUint64}, {"revision", 3, Type::kInt64}, {"raft_term", 4, Type::kUint64}}},
    {"etcdserverpb.RangeRequest",
     {{"key", 1, Type::kBytes}, {"range_end", 2, Type::kBytes}, {"limit", 3, Type::kInt64}, {"revision", 4, Type::kInt64},
      {"sort_order", 5, Type::kEnum, "etcdserverpb.RangeRequest.SortOrder"},
      {"sort_target", 6, Type::kEnum, "etcdserverpb.RangeRequest.SortTarget"}, {"serializable", 7, Type::kBool}, {"keys_only", 8, Type::kBool},
      {"count_only", 9, Type::kBool}, {"min_mod_revision", 10, Type::kInt64}, {"max_mod_revision", 11, Type::kInt64},
      {"min_create_revision", 12, Type::kInt64}, {"max_create_revision", 13, Type::kInt64}}},
    {"etcdserverpb.RangeResponse",
     {kHeader, many({"kvs", 2, Type::kMessage, "mvccpb.KeyValue"}), {"more", 3, Type::kBool}, {"count", 4, Type::kInt64}}},
    {"etcdserverpb.PutRequest",
     {{"key", 1, Type::kBytes}, {"value", 2, Type::kBytes}, {"lease", 3, Type::kInt64}, {"prev_kv", 4, Type::kBool},
      {"ignore_value", 5, Type::kBool}, {"ignore_lease", 6, Type::kBool}}},
    {"etcdserverpb.PutResponse", {kHeader, {"prev_kv", 2, Type::kMessage, "mvccpb.KeyValue"}}},
    {"etcdserverpb.DeleteRangeRequest", {{"key", 1, Type::kBytes}, {"range_end", 2, Type::kBytes}, {"prev_kv", 3, Type::kBool}}},
    {"etcdserverpb.DeleteRangeResponse", {kHeader, {"deleted", 2, Type::kInt64}, many({"prev_kvs", 3, Type::kMessage, "mvccpb.KeyValue"})}},
    {"etcdserverpb.RequestOp",
     {one_of("request", {"request_range", 1, Type::kMessage, "etcdserverpb.RangeRequest"}),
      one_of("request", {"request_put", 2, Type::kMessage, "etcdserverpb.PutRequest"}),
      one_of("request", {"request_delete_range", 3, Type::kMessage, "etcdserverpb.DeleteRangeRequest"}),
      one_of("request", {"request_txn", 4, Type::kMessage, "etcdserverpb.TxnRequest"})}},
    {"etcdserverpb.ResponseOp",
     {one_of("response", {"response_range", 1, Type::kMessage, "etcdserverpb.RangeResponse"}),
      one_of("response", {"response_put", 2, Type::kMessage, "etcdserverpb.PutResponse"}),
      one_of("response", {"response_delete_range", 3, Type::kMessage, "etcdserverpb.DeleteRangeResponse"}),
      one_of("response", {"response_txn", 4, Type::kMessage, "etcdserverpb.TxnResponse"})}},
    {"etcdserverpb.Compare",
     {{"result", 1, Type::kEnum, "etcdserverpb.Compare.CompareResult"}, {"target", 2, Type::kEnum, "etcdserverpb.Compare.CompareTarget"},
      {"key", 3, Type::kBytes}, one_of("target_union", {"version", 4, Type::kInt64}), one_of("target_union", {"create_revision", 5, Type::kInt64}),
      one_of("target_union", {"mod_revision", 6, Type::kInt64}), one_of("target_union", {"value", 7, Type::kBytes}),
      one_of("target_union", {"lease", 8, Type::kInt64}), {"range_end", 64, Type::kBytes}}},
    {"etcdserverpb.TxnRequest",
     {many({"compare", 1, Type::kMessage, "etcdserverpb.Compare"}), many({"success", 2, Type::kMessage, "etcdserverpb.RequestOp"}),
      many({"failure", 3, Type::kMessage, "etcdserverpb.RequestOp"})}},
    {"etcdserverpb.TxnResponse", {kHeader, {"succeeded", 2, Type::kBool}, many({"responses", 3, Type::kMessage, "etcdserverpb.ResponseOp"})}},
    {"etcdserverpb.CompactionRequest", {{"revision", 1, Type::kInt64}, {"physical", 2, Type::kBool}}},
    {"etcdserverpb.CompactionResponse", {kHeader}},
    {"etcdserverpb.WatchRequest",
     {one_of("request_union", {"create_request", 1, Type::kMessage, "etcdserverpb.WatchCreateRequest"}),
      one_of("request_union", {"cancel_request", 2, Type::kMessage, "etcdserverpb.WatchCancelRequest"}),
      one_of("request_union", {"progress_request", 3, Type::kMessage, "etcdserverpb.WatchProgressRequest"})}},
    {"etcdserverpb.WatchCreateRequest",
     {{"key", 1, Type::kBytes}, {"range_end", 2, Type::kBytes}, {"start_revision", 3, Type::kInt64}, {"progress_notify", 4, Type::kBool},
      many({"filters", 5, Type::kEnum, "etcdserverpb.WatchCreateRequest.FilterType"}), {"prev_kv", 6, Type::kBool}, {"watch_id", 7, Type::kInt64},
      {"fragment", 8, Type::kBool}}},
    {"etcdserverpb.WatchCancelRequest", {{"watch_id", 1, Type::kInt64}}},
    {"etcdserverpb.WatchProgressRequest", {}},
    {"etcdserverpb.WatchResponse",
     {kHeader, {"watch_id", 2, Type::kInt64}, {"created", 3, Type::kBool}, {"canceled", 4, Type::kBool}, {"compact_revision", 5, Type::kInt64},
      {"cancel_reason", 6, Type::kString}, {"fragment", 7, Type::kBool}, many({"events", 11, Type::kMessage, "mvccpb.Event"})}},
    {"etcdserverpb.LeaseGrantRequest", {{"TTL", 1, Type::kInt64}, {"ID", 2, Type::kInt64}}},
    {"etcdserverpb.LeaseGrantResponse", {kHeader, {"ID", 2, Type::kInt64}, {"TTL", 3, Type::kInt64}, {"error", 4, Type::kString}}},
    {"etcdserverpb.LeaseRevokeRequest", {{"ID", 1, Type::kInt64}}},
    {"etcdserverpb.LeaseRevokeResponse", {kHeader}},
    {"etcdserverpb.LeaseKeepAliveRequest", {{"ID", 1, Type::kInt64}}},
    {"etcdserverpb.LeaseKeepAliveResponse", {kHeader, {"ID", 2, Type::kInt64}, {"TTL", 3, Type::kInt64}}},
    {"etcdserverpb.LeaseTimeToLiveRequest", {{"ID", 1, Type::kInt64}, {"keys", 2, Type::kBool}}},
    {"etcdserverpb.LeaseTimeToLiveResponse",
     {kHeader, {"ID", 2, Type::kInt64}, {"TTL", 3, Type::kInt64}, {"grantedTTL", 4, Type::kInt64}, many({"keys", 5, Type::kBytes})}},
    {"etcdserverpb.LeaseLeasesRequest", {}},
    {"etcdserverpb.LeaseStatus", {{"ID", 1, Type::kInt64}}},
    {"etcdserverpb.LeaseLeasesResponse", {kHeader, many({"leases", 2, Type::kMessage, "etcdserverpb.LeaseStatus"})}},
    {"etcdserverpb.Member",
     {{"ID", 1, Type::kUint64}, {"name", 2, Type::kString}, many({"peerURLs", 3, Type::kString}), many({"clientURLs", 4, Type::kString}),
      {"isLearner", 5, Type::kBool}}},
    {"etcdserverpb.MemberListRequest", {{"linearizable", 1, Type::kBool}}},
    {"etcdserverpb.MemberListResponse", {kHeader, many({"members", 2, Type::kMessage, "etcdserverpb.Member"})}},
    {"etcdserverpb.MemberAddRequest", {many({"peerURLs", 1, Type::kString}), {"isLearner", 2, Type::kBool}}},
    {"etcdserverpb.MemberAddResponse",
     {kHeader, {"member", 2, Type::kMessage, "etcdserverpb.Member"}, many({"members", 3, Type::kMessage, "etcdserverpb.Member"})}},
    {"etcdserverpb.MemberRemoveRequest", {{"ID", 1, Type::kUint64}}},
    {"etcdserverpb.MemberRemoveResponse", {kHeader, many({"members", 2, Type::kMessage, "etcdserverpb.Member"})}},
    {"etcdserverpb.MemberUpdateRequest", {{"ID", 1, Type::kUint64}, many({"peerURLs", 2, Type::kString})}},
    {"etcdserverpb.MemberUpdateResponse", {kHeader, many({"members", 2, Type::kMessage, "etcdserverpb.Member"})}},
    {"etcdserverpb.MemberPromoteRequest", {{"ID", 1, Type::kUint64}}},
    {"etcdserverpb.MemberPromoteResponse", {kHeader, many({"members", 2, Type::kMessage, "etcdserverpb.Member"})}},
    {"etcdserverpb.AlarmRequest",
     {{"action", 1, Type::kEnum, "etcdserverpb.AlarmRequest.AlarmAction"}, {"memberID", 2, Type::kUint64},
      {"alarm", 3, Type::kEnum, "etcdserverpb.AlarmType"}}},
    {"etcdserverpb.AlarmMember", {{"memberID", 1, Type::kUint64}, {"alarm", 2, Type::kEnum, "etcdserverpb.AlarmType"}}},
    {"etcdserverpb.AlarmResponse", {kHeader, many({"alarms", 2, Type::kMessage, "etcdserverpb.AlarmMember"})}},
    {"etcdserverpb.StatusRequest", {}},
    {"etcdserverpb.StatusResponse",
     {kHeader, {"version", 2, Type::kString}, {"dbSize", 3, Type::kInt64}, {"leader", 4, Type::kUint64}, {"raftIndex", 5, Type::kUint64},
      {"raftTerm", 6, Type::kUint64}, {"raftAppliedIndex", 7, Type::kUint64}, many({"errors", 8, Type::kString}), {"dbSizeInUse", 9, Type::kInt64},
      {"isLearner", 10, Type::kBool}}},
    {"etcdserverpb.DefragmentRequest", {}},
    {"etcdserverpb.DefragmentResponse", {kHeader}},
    {"etcdserverpb.HashRequest", {}},
    {"etcdserverpb.HashResponse", {kHeader, {"hash", 2, Type::kUint32}}},
    {"etcdserverpb.HashKVRequest", {{"revision", 1, Type::kInt64}}},
    {"etcdserverpb.HashKVResponse", {kHeader, {"hash", 2, Type::kUint32}, {"compact_revision", 3, Type::kInt64}}},
    {"etcdserverpb.SnapshotRequest", {}},
    {"etcdserverpb.SnapshotResponse", {kHeader, {"remaining_bytes", 2, Type::kUint64}, {"blob", 3, Type::kBytes}}},
    {"etcdserverpb.MoveLeaderRequest", {{"targetID", 1, Type::kUint64}}},
    {"etcdserverpb.MoveLeaderResponse", {kHeader}},
    {"etcdserverpb.DowngradeRequest", {{"action", 1, Type::kEnum, "etcdserverpb.DowngradeRequest.DowngradeAction"}, {"version", 2, Type::kString}}},
    {"etcdserverpb.DowngradeResponse", {kHeader, {"version", 2, Type::kString}}},
    {"etcdserverpb.AuthEnableRequest", {}},
    {"etcdserverpb.AuthDisableRequest", {}},
    {"etcdserverpb.AuthStatusRequest", {}},
    {"etcdserverpb.AuthenticateRequest", {{"name", 1, Type::kString}, {"password", 2, Type::kString}}},
    {"etcdserverpb.AuthUserAddRequest",
     {{"name", 1, Type::kString}, {"password", 2, Type::kString}, {"options", 3, Type::kMessage, "authpb.UserAddOptions"},
      {"hashedPassword", 4, Type::kString}}},
    {"etcdserverpb.AuthUserGetRequest", {{"name", 1, Type::kString}}},
    {"etcdserverpb.AuthUserListRequest", {}},
    {"etcdserverpb.AuthUserDeleteRequest", {{"name", 1, Type::kString}}},
    {"etcdserverpb.AuthUserChangePasswordRequest",
     {{"name", 1, Type::kString}, {"password", 2, Type::kString}, {"hashedPassword", 3, Type::kString}}},
    {"etcdserverpb.AuthUserGrantRoleRequest", {{"user", 1, Type::kString}, {"role", 2, Type::kString}}},
    {"etcdserverpb.AuthUserRevokeRoleRequest", {{"name", 1, Type::kString}, {"role", 2, Type::kString}}},
    {"etcdserverpb.AuthRoleAddRequest", {{"name", 1, Type::kString}}},
    {"etcdserverpb.AuthRoleGetRequest", {{"role", 1, Type::kString}}},
    {"etcdserverpb.AuthRoleListRequest", {}},
    {"etcdserverpb.AuthRoleDeleteRequest", {{"role", 1, Type::kString}}},
    {"etcdserverpb.AuthRoleGrantPermissionRequest", {{"name", 1, Type::kString}, {"perm", 2, Type::kMessage, "authpb.Permission"}}},
    {"etcdserverpb.AuthRoleRevokePermissionRequest", {{"role", 1, Type::kString}, {"key", 2, Type::kBytes}, {"range_end", 3, Type::kBytes}}},
    {"etcdserverpb.AuthEnableResponse", {kHeader}},
    {"etcdserverpb.AuthDisableResponse", {kHeader}},
    {"etcdserverpb.AuthUserAddResponse", {kHeader}},
    {"etcdserverpb.AuthUserDeleteResponse", {kHeader}},
    {"etcdserverpb.AuthUserChangePasswordResponse", {kHeader}},
    {"etcdserverpb.AuthUserGrantRoleResponse", {kHeader}},
    {"etcdserverpb.AuthUserRevokeRoleResponse", {kHeader}},
    {"etcdserverpb.AuthRoleAddResponse", {kHeader}},
    {"etcdserverpb.AuthRoleDeleteResponse", {kHeader}},
    {"etcdserverpb.AuthRoleGrantPermissionResponse", {kHeader}},
    {"etcdserverpb.AuthRoleRevokePermissionResponse", {kHeader}},
    {"etcdserverpb.AuthStatusResponse", {kHeader, {"enabled", 2, Type::kBool}, {"authRevision", 3, Type::kUint64}}},
    {"etcdserverpb.AuthenticateResponse", {kHeader, {"token", 2, Type::kString}}},
    {"etcdserverpb.AuthUserGetResponse", {kHeader, many({"roles", 2, Type::kString})}},
    {"etcdserverpb.AuthUserListResponse", {kHeader, many({"users", 2, Type::kString})}},
    {"etcdserverpb.AuthRoleGetResponse", {kHeader, many({"perm", 2, Type::kMessage, "authpb.Permission"})}},
    {"etcdserverpb.AuthRoleListResponse", {kHeader, many({"roles", 2, Type::kString})}},
    {"v3lockpb.LockRequest", {{"name", 1, Type::kBytes}, {"lease", 2, Type::kInt64}}},
    {"v3lockpb.LockResponse", {kHeader, {"key", 2, Type::kBytes}}},
    {"v3lockpb.UnlockRequest", {{"key", 1, Type::kBytes}}},
    {"v3lockpb.UnlockResponse", {kHeader}},
    {"v3electionpb.LeaderKey", {{"name", 1, Type::kBytes}, {"key", 2, Type::kBytes}, {"rev", 3, Type::kInt64}, {"lease", 4, Type::kInt64}}},
    {"v3electionpb.CampaignRequest", {{"name", 1, Type::kBytes}, {"lease", 2, Type::kInt64}, {"value", 3, Type::kBytes}}},
    {"v3electionpb.CampaignResponse", {kHeader, {"leader", 2, Type::kMessage, "v3electionpb.LeaderKey"}}},
    {"v3electionpb.ProclaimRequest", {{"leader", 1, Type::kMessage, "v3electionpb.LeaderKey"}, {"value", 2, Type::kBytes}}},
    {"v3electionpb.ProclaimResponse", {kHeader}},
    {"v3electionpb.LeaderRequest", {{"name", 1, Type::kBytes}}},
    {"v3electionpb.LeaderResponse", {kHeader, {"kv", 2, Type::kMessage, "mvccpb.KeyValue"}}},
    {"v3electionpb.ResignRequest", {{"leader", 1, Type::kMessage, "v3electionpb.LeaderKey"}}},
    {"v3electionpb.ResignResponse", {kHeader}},
};

template <typename T>
std::unordered_map<std::string_view, const T*> index_of(std::span<const T> all) {
  std::unordered_map<std::string_view, const T*> index;
  for (const T& one : all) index.emplace(one.name, &one);
  return index;
}

}  // namespace

std::span<const Message> messages() { return kMessages; }
std::span<const Enum> enums() { return kEnums; }

const Message* find_message(std::string_view name) {
  static const auto index = index_of(messages());
  auto at = index.find(name);
  return at == index.end() ? nullptr : at->second;
}

const Enum* find_enum(std::string_view name) {
  static const auto index = index_of(enums());
  auto at = index.find(name);
  return at == index.end() ? nullptr : at->second;
}

}  // namespace monopod::etcd::schema
