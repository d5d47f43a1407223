#include "cri/schema.h"

#include <algorithm>

#include "base/strings.h"
#include "cri/messages.h"

namespace monopod::cri {
namespace {

// A line for each message: its name and its fields, name=number and a letter for the type:
//   s string  y bytes  b bool  i int64  j int32  u uint64  v uint32  m map<string, string>  e:Enum  :Message; a + before it: repeated
constexpr std::string_view kText = R"(
VersionRequest version=1s
VersionResponse version=1s runtime_name=2s runtime_version=3s runtime_api_version=4s
DNSConfig servers=1+s searches=2+s options=3+s
PortMapping protocol=1e:Protocol container_port=2j host_port=3j host_ip=4s
Mount container_path=1s host_path=2s readonly=3b selinux_relabel=4b propagation=5e:MountPropagation uidMappings=6+:IDMapping gidMappings=7+:IDMapping recursive_read_only=8b image=9:ImageSpec image_sub_path=10s
IDMapping host_id=1v container_id=2v length=3v
UserNamespace mode=1e:NamespaceMode uids=2+:IDMapping gids=3+:IDMapping
NamespaceOption network=1e:NamespaceMode pid=2e:NamespaceMode ipc=3e:NamespaceMode target_id=4s userns_options=5:UserNamespace
Int64Value value=1i
LinuxSandboxSecurityContext namespace_options=1:NamespaceOption selinux_options=2:SELinuxOption run_as_user=3:Int64Value run_as_group=8:Int64Value readonly_rootfs=4b supplemental_groups=5+i supplemental_groups_policy=11e:SupplementalGroupsPolicy privileged=6b seccomp=9:SecurityProfile apparmor=10:SecurityProfile seccomp_profile_path=7s
SecurityProfile profile_type=1e:SecurityProfile.ProfileType localhost_ref=2s
LinuxPodSandboxConfig cgroup_parent=1s security_context=2:LinuxSandboxSecurityContext sysctls=3m overhead=4:LinuxContainerResources resources=5:LinuxContainerResources
PodSandboxMetadata name=1s uid=2s namespace=3s attempt=4v
PodSandboxConfig metadata=1:PodSandboxMetadata hostname=2s log_directory=3s dns_config=4:DNSConfig port_mappings=5+:PortMapping labels=6m annotations=7m linux=8:LinuxPodSandboxConfig
RunPodSandboxRequest config=1:PodSandboxConfig runtime_handler=2s
RunPodSandboxResponse pod_sandbox_id=1s
StopPodSandboxRequest pod_sandbox_id=1s
StopPodSandboxResponse
RemovePodSandboxRequest pod_sandbox_id=1s
RemovePodSandboxResponse
PodSandboxStatusRequest pod_sandbox_id=1s verbose=2b
PodIP ip=1s
PodSandboxNetworkStatus ip=1s additional_ips=2+:PodIP
Namespace options=2:NamespaceOption
LinuxPodSandboxStatus namespaces=1:Namespace
PodSandboxStatus id=1s metadata=2:PodSandboxMetadata state=3e:PodSandboxState created_at=4i network=5:PodSandboxNetworkStatus linux=6:LinuxPodSandboxStatus labels=7m annotations=8m runtime_handler=9s
PodSandboxStatusResponse status=1:PodSandboxStatus info=2m containers_statuses=3+:ContainerStatus timestamp=4i
PodSandboxStateValue state=1e:PodSandboxState
PodSandboxFilter id=1s state=2:PodSandboxStateValue label_selector=3m
ListPodSandboxRequest filter=1:PodSandboxFilter
PodSandbox id=1s metadata=2:PodSandboxMetadata state=3e:PodSandboxState created_at=4i labels=5m annotations=6m runtime_handler=7s
ListPodSandboxResponse items=1+:PodSandbox
StreamPodSandboxesRequest filter=1:PodSandboxFilter
StreamPodSandboxesResponse pod_sandboxes=1+:PodSandbox
PodSandboxStatsRequest pod_sandbox_id=1s
PodSandboxStatsResponse stats=1:PodSandboxStats
PodSandboxStatsFilter id=1s label_selector=2m
ListPodSandboxStatsRequest filter=1:PodSandboxStatsFilter
ListPodSandboxStatsResponse stats=1+:PodSandboxStats
StreamPodSandboxStatsRequest filter=1:PodSandboxStatsFilter
StreamPodSandboxStatsResponse pod_sandbox_stats=1+:PodSandboxStats
PodSandboxAttributes id=1s metadata=2:PodSandboxMetadata labels=3m annotations=4m
PodSandboxStats attributes=1:PodSandboxAttributes linux=2:LinuxPodSandboxStats
LinuxPodSandboxStats cpu=1:CpuUsage memory=2:MemoryUsage network=3:NetworkUsage process=4:ProcessUsage containers=5+:ContainerStats
NetworkUsage timestamp=1i default_interface=2:NetworkInterfaceUsage interfaces=3+:NetworkInterfaceUsage
NetworkInterfaceUsage name=1s rx_bytes=2:UInt64Value rx_errors=3:UInt64Value tx_bytes=4:UInt64Value tx_errors=5:UInt64Value
ProcessUsage timestamp=1i process_count=2:UInt64Value
ImageSpec image=1s annotations=2m user_specified_image=18s runtime_handler=19s image_ref=20s
KeyValue key=1s value=2s
LinuxContainerResources cpu_period=1i cpu_quota=2i cpu_shares=3i memory_limit_in_bytes=4i oom_score_adj=5i cpuset_cpus=6s cpuset_mems=7s hugepage_limits=8+:HugepageLimit unified=9m memory_swap_limit_in_bytes=10i
HugepageLimit page_size=1s limit=2u
SELinuxOption user=1s role=2s type=3s level=4s
Capability add_capabilities=1+s drop_capabilities=2+s add_ambient_capabilities=3+s
LinuxContainerSecurityContext capabilities=1:Capability privileged=2b namespace_options=3:NamespaceOption selinux_options=4:SELinuxOption run_as_user=5:Int64Value run_as_group=12:Int64Value run_as_username=6s readonly_rootfs=7b supplemental_groups=8+i supplemental_groups_policy=17e:SupplementalGroupsPolicy cgroup_mount_mode=18e:CgroupMountMode no_new_privs=11b masked_paths=13+s readonly_paths=14+s seccomp=15:SecurityProfile apparmor=16:SecurityProfile apparmor_profile=9s seccomp_profile_path=10s
LinuxContainerConfig resources=1:LinuxContainerResources security_context=2:LinuxContainerSecurityContext
LinuxContainerUser uid=1i gid=2i supplemental_groups=3+i
ContainerMetadata name=1s attempt=2v
Device container_path=1s host_path=2s permissions=3s
CDIDevice name=1s
ContainerConfig metadata=1:ContainerMetadata image=2:ImageSpec command=3+s args=4+s working_dir=5s envs=6+:KeyValue mounts=7+:Mount devices=8+:Device labels=9m annotations=10m log_path=11s stdin=12b stdin_once=13b tty=14b linux=15:LinuxContainerConfig CDI_devices=17+:CDIDevice stop_signal=18e:Signal
CreateContainerRequest pod_sandbox_id=1s config=2:ContainerConfig sandbox_config=3:PodSandboxConfig
CreateContainerResponse container_id=1s
StartContainerRequest container_id=1s
StartContainerResponse
StopContainerRequest container_id=1s timeout=2i
StopContainerResponse
RemoveContainerRequest container_id=1s
RemoveContainerResponse
ContainerStateValue state=1e:ContainerState
ContainerFilter id=1s state=2:ContainerStateValue pod_sandbox_id=3s label_selector=4m
ListContainersRequest filter=1:ContainerFilter
Container id=1s pod_sandbox_id=2s metadata=3:ContainerMetadata image=4:ImageSpec image_ref=5s state=6e:ContainerState created_at=7i labels=8m annotations=9m image_id=10s
ListContainersResponse containers=1+:Container
StreamContainersRequest filter=1:ContainerFilter
StreamContainersResponse containers=1+:Container
ContainerStatusRequest container_id=1s verbose=2b
ContainerStatus id=1s metadata=2:ContainerMetadata state=3e:ContainerState created_at=4i started_at=5i finished_at=6i exit_code=7j image=8:ImageSpec image_ref=9s reason=10s message=11s labels=12m annotations=13m mounts=14+:Mount log_path=15s resources=16:ContainerResources image_id=17s user=18:ContainerUser stop_signal=19e:Signal
ContainerStatusResponse status=1:ContainerStatus info=2m
ContainerResources linux=1:LinuxContainerResources
ContainerUser linux=1:LinuxContainerUser
UpdateContainerResourcesRequest container_id=1s linux=2:LinuxContainerResources annotations=4m
UpdateContainerResourcesResponse
ExecSyncRequest container_id=1s cmd=2+s timeout=3i
ExecSyncResponse stdout=1y stderr=2y exit_code=3j
ExecRequest container_id=1s cmd=2+s tty=3b stdin=4b stdout=5b stderr=6b
ExecResponse url=1s
AttachRequest container_id=1s stdin=2b tty=3b stdout=4b stderr=5b
AttachResponse url=1s
PortForwardRequest pod_sandbox_id=1s port=2+j
PortForwardResponse url=1s
ImageFilter image=1:ImageSpec
ListImagesRequest filter=1:ImageFilter
Image id=1s repo_tags=2+s repo_digests=3+s size=4u uid=5:Int64Value username=6s spec=7:ImageSpec pinned=8b
ListImagesResponse images=1+:Image
StreamImagesRequest filter=1:ImageFilter
StreamImagesResponse images=1+:Image
ImageStatusRequest image=1:ImageSpec verbose=2b
ImageStatusResponse image=1:Image info=2m
AuthConfig username=1s password=2s auth=3s server_address=4s identity_token=5s registry_token=6s
PullImageRequest image=1:ImageSpec auth=2:AuthConfig sandbox_config=3:PodSandboxConfig
PullImageResponse image_ref=1s
RemoveImageRequest image=1:ImageSpec
RemoveImageResponse
NetworkConfig pod_cidr=1s
RuntimeConfig network_config=1:NetworkConfig
UpdateRuntimeConfigRequest runtime_config=1:RuntimeConfig
UpdateRuntimeConfigResponse
RuntimeCondition type=1s status=2b reason=3s message=4s
RuntimeStatus conditions=1+:RuntimeCondition
StatusRequest verbose=1b
RuntimeHandlerFeatures recursive_read_only_mounts=1b user_namespaces=2b
RuntimeHandler name=1s features=2:RuntimeHandlerFeatures
RuntimeFeatures supplemental_groups_policy=1b user_namespaces_host_network=2b cgroup_mount_mode=4b
StatusResponse status=1:RuntimeStatus info=2m runtime_handlers=3+:RuntimeHandler features=4:RuntimeFeatures
ImageFsInfoRequest
UInt64Value value=1u
FilesystemIdentifier mountpoint=1s
FilesystemUsage timestamp=1i fs_id=2:FilesystemIdentifier used_bytes=3:UInt64Value inodes_used=4:UInt64Value
ImageFsInfoResponse image_filesystems=1+:FilesystemUsage container_filesystems=2+:FilesystemUsage
ContainerStatsRequest container_id=1s
ContainerStatsResponse stats=1:ContainerStats
ListContainerStatsRequest filter=1:ContainerStatsFilter
ContainerStatsFilter id=1s pod_sandbox_id=2s label_selector=3m
ListContainerStatsResponse stats=1+:ContainerStats
StreamContainerStatsRequest filter=1:ContainerStatsFilter
StreamContainerStatsResponse container_stats=1+:ContainerStats
ContainerAttributes id=1s metadata=2:ContainerMetadata labels=3m annotations=4m
ContainerStats attributes=1:ContainerAttributes cpu=2:CpuUsage memory=3:MemoryUsage writable_layer=4:FilesystemUsage swap=5:SwapUsage
CpuUsage timestamp=1i usage_core_nano_seconds=2:UInt64Value usage_nano_cores=3:UInt64Value
MemoryUsage timestamp=1i working_set_bytes=2:UInt64Value available_bytes=3:UInt64Value usage_bytes=4:UInt64Value rss_bytes=5:UInt64Value page_faults=6:UInt64Value major_page_faults=7:UInt64Value
SwapUsage timestamp=1i swap_available_bytes=2:UInt64Value swap_usage_bytes=3:UInt64Value
ReopenContainerLogRequest container_id=1s
ReopenContainerLogResponse
CheckpointContainerRequest container_id=1s location=2s timeout=3i
CheckpointContainerResponse
GetEventsRequest
ContainerEventResponse container_id=1s container_event_type=2e:ContainerEventType created_at=3i pod_sandbox_status=4:PodSandboxStatus containers_statuses=5+:ContainerStatus
ListMetricDescriptorsRequest
ListMetricDescriptorsResponse descriptors=1+:MetricDescriptor
MetricDescriptor name=1s help=2s label_keys=3+s
ListPodSandboxMetricsRequest
ListPodSandboxMetricsResponse pod_metrics=1+:PodSandboxMetrics
StreamPodSandboxMetricsRequest
StreamPodSandboxMetricsResponse pod_sandbox_metrics=1+:PodSandboxMetrics
PodSandboxMetrics pod_sandbox_id=1s metrics=2+:Metric container_metrics=3+:ContainerMetrics
ContainerMetrics container_id=1s metrics=2+:Metric
Metric name=1s timestamp=2i metric_type=3e:MetricType label_values=4+s value=5:UInt64Value
RuntimeConfigRequest
RuntimeConfigResponse linux=1:LinuxRuntimeConfiguration
LinuxRuntimeConfiguration cgroup_driver=1e:CgroupDriver
UpdatePodSandboxResourcesRequest pod_sandbox_id=1s overhead=2:LinuxContainerResources resources=3:LinuxContainerResources
UpdatePodSandboxResourcesResponse
)";

Result<Field> parse_field(std::string_view text) {
  static constexpr std::pair<char, Kind> kKinds[] = {{'s', Kind::kString}, {'y', Kind::kBytes},  {'b', Kind::kBool},   {'i', Kind::kInt64},
                                                     {'j', Kind::kInt32},  {'u', Kind::kUint64}, {'v', Kind::kUint32},
                                                     {'m', Kind::kMap},    {'e', Kind::kEnum},   {':', Kind::kMessage}};
  Field out;
  auto [name, rest] = split_once(text, '=');
  std::size_t digits = rest ? std::min(rest->find_first_not_of("0123456789"), rest->size()) : 0;
  std::optional<std::uint16_t> number = rest ? parse_int<std::uint16_t>(rest->substr(0, digits)) : std::nullopt;
  std::string_view type = number ? rest->substr(digits) : "";
  if (type.starts_with('+')) {
    out.repeated = true;
    type.remove_prefix(1);
  }
  auto kind = std::ranges::find(kKinds, type.empty() ? '\0' : type[0], &std::pair<char, Kind>::first);
  std::size_t colon = type.find(':');
  bool names_type = kind != std::end(kKinds) && (kind->second == Kind::kEnum || kind->second == Kind::kMessage);
  if (name.empty() || kind == std::end(kKinds) || names_type != (colon != std::string_view::npos)) return refuse(Code::kInvalidArgument, {"schema: bad field \"", text, "\""});
  out.name = name;
  out.number = *number;
  out.kind = kind->second;
  if (names_type) out.of = type.substr(colon + 1);
  return out;
}

}  // namespace

Result<Schema> Schema::parse(std::string_view text) {
  Schema out;
  for (std::string_view line : split(text, '\n')) {
    if (line.empty()) continue;
    std::vector<std::string_view> words = split(line, ' ');
    Message message{.name = words[0]};
    for (std::size_t i = 1; i < words.size(); ++i) {
      TRY_ASSIGN(Field field, parse_field(words[i]));
      message.fields.push_back(field);
    }
    out.messages_.push_back(std::move(message));
  }
  std::ranges::sort(out.messages_, {}, &Message::name);
  for (Message& message : out.messages_)
    for (Field& field : message.fields) {
      if (field.kind != Kind::kMessage) continue;
      field.message = out.find(field.of);
      if (field.message == nullptr) return refuse(Code::kInvalidArgument, {"schema: ", message.name, ".", field.name, ": no message ", field.of});
    }
  return out;
}

const Schema& Schema::get() {
  static const Schema schema = [] { return parse(kText).value(); }();
  return schema;
}

const Message* Schema::find(std::string_view name) const {
  auto at = std::ranges::lower_bound(messages_, name, {}, &Message::name);
  return at == messages_.end() || at->name != name ? nullptr : &*at;
}

}  // namespace monopod::cri
