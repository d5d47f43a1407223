#include "etcd/gateway/routes.h"

#include <unordered_map>

namespace monopod::etcd {
namespace {

constexpr Route kRoutes[] = {
    {"/kv/range", "/etcdserverpb.KV/Range", "etcdserverpb.RangeRequest", "etcdserverpb.RangeResponse"},
    {"/kv/put", "/etcdserverpb.KV/Put", "etcdserverpb.PutRequest", "etcdserverpb.PutResponse"},
    {"/kv/deleterange", "/etcdserverpb.KV/DeleteRange", "etcdserverpb.DeleteRangeRequest", "etcdserverpb.DeleteRangeResponse"},
    {"/kv/txn", "/etcdserverpb.KV/Txn", "etcdserverpb.TxnRequest", "etcdserverpb.TxnResponse"},
    {"/kv/compaction", "/etcdserverpb.KV/Compact", "etcdserverpb.CompactionRequest", "etcdserverpb.CompactionResponse"},
    {"/watch", "/etcdserverpb.Watch/Watch", "etcdserverpb.WatchRequest", "etcdserverpb.WatchResponse", Streams::kBoth},
    {"/lease/grant", "/etcdserverpb.Lease/LeaseGrant", "etcdserverpb.LeaseGrantRequest", "etcdserverpb.LeaseGrantResponse"},
    {"/lease/revoke", "/etcdserverpb.Lease/LeaseRevoke", "etcdserverpb.LeaseRevokeRequest", "etcdserverpb.LeaseRevokeResponse"},
    {"/kv/lease/revoke", "/etcdserverpb.Lease/LeaseRevoke", "etcdserverpb.LeaseRevokeRequest", "etcdserverpb.LeaseRevokeResponse"},
    {"/lease/keepalive", "/etcdserverpb.Lease/LeaseKeepAlive", "etcdserverpb.LeaseKeepAliveRequest", "etcdserverpb.LeaseKeepAliveResponse", Streams::kBoth},
    {"/lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive", "etcdserverpb.LeaseTimeToLiveRequest", "etcdserverpb.LeaseTimeToLiveResponse"},
    {"/kv/lease/timetolive", "/etcdserverpb.Lease/LeaseTimeToLive", "etcdserverpb.LeaseTimeToLiveRequest", "etcdserverpb.LeaseTimeToLiveResponse"},
    {"/lease/leases", "/etcdserverpb.Lease/LeaseLeases", "etcdserverpb.LeaseLeasesRequest", "etcdserverpb.LeaseLeasesResponse"},
    {"/kv/lease/leases", "/etcdserverpb.Lease/LeaseLeases", "etcdserverpb.LeaseLeasesRequest", "etcdserverpb.LeaseLeasesResponse"},
    {"/cluster/member/add", "/etcdserverpb.Cluster/MemberAdd", "etcdserverpb.MemberAddRequest", "etcdserverpb.MemberAddResponse"},
    {"/cluster/member/remove", "/etcdserverpb.Cluster/MemberRemove", "etcdserverpb.MemberRemoveRequest", "etcdserverpb.MemberRemoveResponse"},
    {"/cluster/member/update", "/etcdserverpb.Cluster/MemberUpdate", "etcdserverpb.MemberUpdateRequest", "etcdserverpb.MemberUpdateResponse"},
    {"/cluster/member/list", "/etcdserverpb.Cluster/MemberList", "etcdserverpb.MemberListRequest", "etcdserverpb.MemberListResponse"},
    {"/cluster/member/promote", "/etcdserverpb.Cluster/MemberPromote", "etcdserverpb.MemberPromoteRequest", "etcdserverpb.MemberPromoteResponse"},
    {"/maintenance/alarm", "/etcdserverpb.Maintenance/Alarm", "etcdserverpb.AlarmRequest", "etcdserverpb.AlarmResponse"},
    {"/maintenance/status", "/etcdserverpb.Maintenance/Status", "etcdserverpb.StatusRequest", "etcdserverpb.StatusResponse"},
    {"/maintenance/defragment", "/etcdserverpb.Maintenance/Defragment", "etcdserverpb.DefragmentRequest", "etcdserverpb.DefragmentResponse"},
    {"/maintenance/hash", "/etcdserverpb.Maintenance/Hash", "etcdserverpb.HashRequest", "etcdserverpb.HashResponse"},
    {"/maintenance/hashkv", "/etcdserverpb.Maintenance/HashKV", "etcdserverpb.HashKVRequest", "etcdserverpb.HashKVResponse"},
    {"/maintenance/snapshot", "/etcdserverpb.Maintenance/Snapshot", "etcdserverpb.SnapshotRequest", "etcdserverpb.SnapshotResponse", Streams::kAnswers},
    {"/maintenance/transfer-leadership", "/etcdserverpb.Maintenance/MoveLeader", "etcdserverpb.MoveLeaderRequest", "etcdserverpb.MoveLeaderResponse"},
    {"/maintenance/downgrade", "/etcdserverpb.Maintenance/Downgrade", "etcdserverpb.DowngradeRequest", "etcdserverpb.DowngradeResponse"},
    {"/auth/enable", "/etcdserverpb.Auth/AuthEnable", "etcdserverpb.AuthEnableRequest", "etcdserverpb.AuthEnableResponse"},
    {"/auth/disable", "/etcdserverpb.Auth/AuthDisable", "etcdserverpb.AuthDisableRequest", "etcdserverpb.AuthDisableResponse"},
    {"/auth/status", "/etcdserverpb.Auth/AuthStatus", "etcdserverpb.AuthStatusRequest", "etcdserverpb.AuthStatusResponse"},
    {"/auth/authenticate", "/etcdserverpb.Auth/Authenticate", "etcdserverpb.AuthenticateRequest", "etcdserverpb.AuthenticateResponse"},
    {"/auth/user/add", "/etcdserverpb.Auth/UserAdd", "etcdserverpb.AuthUserAddRequest", "etcdserverpb.AuthUserAddResponse"},
    {"/auth/user/get", "/etcdserverpb.Auth/UserGet", "etcdserverpb.AuthUserGetRequest", "etcdserverpb.AuthUserGetResponse"},
    {"/auth/user/list", "/etcdserverpb.Auth/UserList", "etcdserverpb.AuthUserListRequest", "etcdserverpb.AuthUserListResponse"},
    {"/auth/user/delete", "/etcdserverpb.Auth/UserDelete", "etcdserverpb.AuthUserDeleteRequest", "etcdserverpb.AuthUserDeleteResponse"},
    {"/auth/user/changepw", "/etcdserverpb.Auth/UserChangePassword", "etcdserverpb.AuthUserChangePasswordRequest", "etcdserverpb.AuthUserChangePasswordResponse"},
    {"/auth/user/grant", "/etcdserverpb.Auth/UserGrantRole", "etcdserverpb.AuthUserGrantRoleRequest", "etcdserverpb.AuthUserGrantRoleResponse"},
    {"/auth/user/revoke", "/etcdserverpb.Auth/UserRevokeRole", "etcdserverpb.AuthUserRevokeRoleRequest", "etcdserverpb.AuthUserRevokeRoleResponse"},
    {"/auth/role/add", "/etcdserverpb.Auth/RoleAdd", "etcdserverpb.AuthRoleAddRequest", "etcdserverpb.AuthRoleAddResponse"},
    {"/auth/role/get", "/etcdserverpb.Auth/RoleGet", "etcdserverpb.AuthRoleGetRequest", "etcdserverpb.AuthRoleGetResponse"},
    {"/auth/role/list", "/etcdserverpb.Auth/RoleList", "etcdserverpb.AuthRoleListRequest", "etcdserverpb.AuthRoleListResponse"},
    {"/auth/role/delete", "/etcdserverpb.Auth/RoleDelete", "etcdserverpb.AuthRoleDeleteRequest", "etcdserverpb.AuthRoleDeleteResponse"},
    {"/auth/role/grant", "/etcdserverpb.Auth/RoleGrantPermission", "etcdserverpb.AuthRoleGrantPermissionRequest", "etcdserverpb.AuthRoleGrantPermissionResponse"},
    {"/auth/role/revoke", "/etcdserverpb.Auth/RoleRevokePermission", "etcdserverpb.AuthRoleRevokePermissionRequest", "etcdserverpb.AuthRoleRevokePermissionResponse"},
    {"/lock/lock", "/v3lockpb.Lock/Lock", "v3lockpb.LockRequest", "v3lockpb.LockResponse"},
    {"/lock/unlock", "/v3lockpb.Lock/Unlock", "v3lockpb.UnlockRequest", "v3lockpb.UnlockResponse"},
    {"/election/campaign", "/v3electionpb.Election/Campaign", "v3electionpb.CampaignRequest", "v3electionpb.CampaignResponse"},
    {"/election/proclaim", "/v3electionpb.Election/Proclaim", "v3electionpb.ProclaimRequest", "v3electionpb.ProclaimResponse"},
    {"/election/leader", "/v3electionpb.Election/Leader", "v3electionpb.LeaderRequest", "v3electionpb.LeaderResponse"},
    {"/election/observe", "/v3electionpb.Election/Observe", "v3electionpb.LeaderRequest", "v3electionpb.LeaderResponse", Streams::kAnswers},
    {"/election/resign", "/v3electionpb.Election/Resign", "v3electionpb.ResignRequest", "v3electionpb.ResignResponse"},};

}  // namespace

std::span<const Route> routes() { return kRoutes; }

const Route* find_route(std::string_view path) {
  static const auto index = [] {
    std::unordered_map<std::string_view, const Route*> made;
    for (const Route& route : kRoutes) made.emplace(route.path, &route);
    return made;
  }();
  for (std::string_view prefix : {"/v3/", "/v3beta/"}) {
    if (!path.starts_with(prefix)) continue;
    auto at = index.find(path.substr(prefix.size() - 1));
    return at == index.end() ? nullptr : at->second;
  }
  return nullptr;
}

}  // namespace monopod::etcd
