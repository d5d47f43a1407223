#!/usr/bin/env python3
"""Turns a folder of API facts (one JSON for each group and version: resources, types, fields, protobuf numbers) into the
rows under kinds/tables. Run by hand when the Kubernetes version changes: import_facts.py FACTS_DIR COLUMNS_JSON. What the facts
do not carry (pointer fields, defaults, embedded protobuf messages) stands below as data."""
import json, os, sys

GROUPS = """core_v1 apps_v1 batch_v1 autoscaling_v1 autoscaling_v2 networking.k8s.io_v1 discovery.k8s.io_v1 events.k8s.io_v1
policy_v1 rbac.authorization.k8s.io_v1 coordination.k8s.io_v1 node.k8s.io_v1 scheduling.k8s.io_v1 storage.k8s.io_v1
certificates.k8s.io_v1 flowcontrol.apiserver.k8s.io_v1 authentication.k8s.io_v1 authorization.k8s.io_v1
admissionregistration.k8s.io_v1 apiextensions.k8s.io_v1 apiregistration.k8s.io_v1 resource.k8s.io_v1 _meta_v1""".split()

# Numbers and booleans whose zero value Go omits (plain fields with omitempty); every other optional one is a pointer.
PLAIN = set("""deprecated denied authenticated exclusiveMaximum exclusiveMinimum hostIPC hostNetwork hostPID insecureSkipTLSVerify
nullable paused preserveUnknownFields publishNotReadyAddresses readOnly chapAuthDiscovery chapAuthSession sslEnabled stdin stdinOnce
tty uniqueItems unschedulable x-kubernetes-embedded-resource x-kubernetes-int-or-string globalDefault clusterScope active
availableReplicas code count currentReplicas deprecatedCount failed failureThreshold fullyLabeledReplicas generation
healthCheckNodePort hostPort initialDelaySeconds matchingPrecedence minReadySeconds nodePort number numberAvailable
numberUnavailable observedGeneration readyReplicas retryAfterSeconds handSize queues queueLengthLimit signal sizeBytes succeeded
successThreshold periodSeconds unavailableReplicas updatedNumberScheduled updatedReplicas start""".split())
PLAIN_IN = set("""ScaleSpec.replicas DeploymentStatus.replicas ReplicaSetStatus.replicas Probe.timeoutSeconds
AWSElasticBlockStoreVolumeSource.partition GCEPersistentDiskVolumeSource.partition CustomResourceColumnDefinition.priority""".split())
POINTER_IN = set("""PersistentVolumeClaimSpec.storageClassName HorizontalPodAutoscalerStatus.observedGeneration
discovery.v1.EndpointPort.name GRPCAction.service HostPathVolumeSource.type AzureDiskVolumeSource.readOnly
CSIVolumeSource.readOnly PersistentVolumeClaimSpec.volumeAttributesClassName TypedLocalObjectReference.apiGroup
TypedObjectReference.apiGroup JobStatus.ready JobStatus.terminating""".split())
# Embedded structs that Go always writes, beside metadata, spec and status of top-level kinds.
ALWAYS = set("""PodTemplateSpec.metadata PodTemplateSpec.spec Container.resources EphemeralContainer.resources
DeploymentSpec.strategy DeploymentSpec.template ReplicaSetSpec.template DaemonSetSpec.template DaemonSetSpec.updateStrategy
StatefulSetSpec.template StatefulSetSpec.updateStrategy JobSpec.template CronJobSpec.jobTemplate JobTemplateSpec.metadata
JobTemplateSpec.spec ServiceStatus.loadBalancer IngressStatus.loadBalancer ContainerStatus.state ContainerStatus.lastState
NodeStatus.daemonEndpoints NodeStatus.nodeInfo NodeDaemonEndpoints.kubeletEndpoint core.v1.Event.involvedObject core.v1.Event.source
PersistentVolumeClaimSpec.resources PersistentVolumeClaimTemplate.spec PersistentVolumeClaimTemplate.metadata
PodTemplate.template events.v1.Event.regarding EventsEvent.deprecatedSource ResourceClaimSpec.devices AllocationResult.devices
ResourceClaimTemplateSpec.metadata ResourceClaimTemplateSpec.spec""".split())
NOT_ALWAYS = set("Eviction.metadata ControllerRevision.data".split())
DEFAULTS = {
  "ContainerPort.protocol": "TCP", "core.v1.EndpointPort.protocol": "TCP", "discovery.v1.EndpointPort.protocol": "TCP",
  "discovery.v1.EndpointPort.name": "", "ServicePort.protocol": "TCP", "NetworkPolicyPort.protocol": "TCP",
  "Container.terminationMessagePath": "/dev/termination-log", "Container.terminationMessagePolicy": "File",
  "EphemeralContainer.terminationMessagePath": "/dev/termination-log", "EphemeralContainer.terminationMessagePolicy": "File",
  "Probe.timeoutSeconds": 1, "Probe.periodSeconds": 10, "Probe.successThreshold": 1, "Probe.failureThreshold": 3,
  "HTTPGetAction.path": "/", "HTTPGetAction.scheme": "HTTP", "GRPCAction.service": "",
  "PodSpec.dnsPolicy": "ClusterFirst", "PodSpec.restartPolicy": "Always", "PodSpec.schedulerName": "default-scheduler",
  "PodSpec.terminationGracePeriodSeconds": 30, "PodSpec.securityContext": {},
  "SecretVolumeSource.defaultMode": 420, "ConfigMapVolumeSource.defaultMode": 420, "DownwardAPIVolumeSource.defaultMode": 420,
  "ProjectedVolumeSource.defaultMode": 420, "ServiceAccountTokenProjection.expirationSeconds": 3600, "HostPathVolumeSource.type": "",
  "ObjectFieldSelector.apiVersion": "v1", "PersistentVolumeClaimSpec.volumeMode": "Filesystem",
  "PersistentVolumeSpec.volumeMode": "Filesystem", "PersistentVolumeSpec.persistentVolumeReclaimPolicy": "Retain",
  "Secret.type": "Opaque", "ServiceSpec.type": "ClusterIP", "ServiceSpec.sessionAffinity": "None",
  "DeploymentSpec.replicas": 1, "DeploymentSpec.revisionHistoryLimit": 10, "DeploymentSpec.progressDeadlineSeconds": 600,
  "DeploymentStrategy.type": "RollingUpdate", "ReplicaSetSpec.replicas": 1, "ReplicationControllerSpec.replicas": 1,
  "DaemonSetSpec.revisionHistoryLimit": 10, "DaemonSetUpdateStrategy.type": "RollingUpdate",
  "StatefulSetSpec.podManagementPolicy": "OrderedReady", "StatefulSetSpec.replicas": 1, "StatefulSetSpec.revisionHistoryLimit": 10,
  "StatefulSetUpdateStrategy.type": "RollingUpdate", "StatefulSetSpec.persistentVolumeClaimRetentionPolicy": {},
  "StatefulSetPersistentVolumeClaimRetentionPolicy.whenDeleted": "Retain",
  "StatefulSetPersistentVolumeClaimRetentionPolicy.whenScaled": "Retain",
  "JobSpec.backoffLimit": 6, "JobSpec.completionMode": "NonIndexed", "JobSpec.suspend": False,
  "CronJobSpec.concurrencyPolicy": "Allow", "CronJobSpec.suspend": False, "CronJobSpec.successfulJobsHistoryLimit": 3,
  "CronJobSpec.failedJobsHistoryLimit": 1, "HorizontalPodAutoscalerSpec.minReplicas": 1,
  "PriorityClass.preemptionPolicy": "PreemptLowerPriority", "StorageClass.reclaimPolicy": "Delete",
  "StorageClass.volumeBindingMode": "Immediate", "CSIDriverSpec.attachRequired": True, "CSIDriverSpec.podInfoOnMount": False,
  "CSIDriverSpec.storageCapacity": False, "CSIDriverSpec.requiresRepublish": False, "CSIDriverSpec.seLinuxMount": False,
  "CSIDriverSpec.fsGroupPolicy": "ReadWriteOnceWithFSType", "TokenRequestSpec.expirationSeconds": 3600,
  "MutatingWebhook.failurePolicy": "Fail", "MutatingWebhook.matchPolicy": "Equivalent", "MutatingWebhook.timeoutSeconds": 10,
  "MutatingWebhook.namespaceSelector": {}, "MutatingWebhook.objectSelector": {}, "MutatingWebhook.reinvocationPolicy": "Never",
  "ValidatingWebhook.failurePolicy": "Fail", "ValidatingWebhook.matchPolicy": "Equivalent", "ValidatingWebhook.timeoutSeconds": 10,
  "ValidatingWebhook.namespaceSelector": {}, "ValidatingWebhook.objectSelector": {}, "RuleWithOperations.scope": "*",
  "NamedRuleWithOperations.scope": "*", "ServiceReference.port": 443, "ValidatingAdmissionPolicySpec.failurePolicy": "Fail",
  "MatchResources.matchPolicy": "Equivalent", "MatchResources.namespaceSelector": {}, "MatchResources.objectSelector": {},
  "FlowSchemaSpec.matchingPrecedence": 1000, "LimitedPriorityLevelConfiguration.lendablePercent": 0,
  "LimitedPriorityLevelConfiguration.nominalConcurrencyShares": 30, "QueuingConfiguration.queues": 64,
  "QueuingConfiguration.handSize": 8, "QueuingConfiguration.queueLengthLimit": 50,
  "CustomResourceConversion.strategy": "None", "CustomResourceDefinitionSpec.conversion": {},
  "ParamRef.parameterNotFoundAction": None, "ExactDeviceRequest.allocationMode": "ExactCount", "DeviceSubRequest.allocationMode": "ExactCount",
}
# Embedded protobuf messages: outer type -> (number, {field: inner number}).
VOLUME = "hostPath emptyDir gcePersistentDisk awsElasticBlockStore gitRepo secret nfs iscsi glusterfs persistentVolumeClaim rbd flexVolume cinder cephfs flocker downwardAPI fc azureFile configMap vsphereVolume quobyte azureDisk photonPersistentDisk portworxVolume scaleIO projected storageos csi ephemeral image".split()
PV = "gcePersistentDisk awsElasticBlockStore hostPath glusterfs nfs rbd iscsi cinder cephfs fc flocker flexVolume azureFile vsphereVolume quobyte azureDisk photonPersistentDisk portworxVolume scaleIO local storageos csi".split()
RULE = {"apiGroups": 1, "apiVersions": 2, "resources": 3, "scope": 4}
number = lambda names: {n: i + 1 for i, n in enumerate(names)}
INLINE = {"Volume": (2, number(VOLUME)), "PersistentVolumeSpec": (2, number(PV)), "Probe": (1, number(["exec", "httpGet", "tcpSocket", "grpc"])),
  "IngressRule": (2, {"http": 1}), "DeviceAllocationConfiguration": (3, {"opaque": 1}), "DeviceClaimConfiguration": (2, {"opaque": 1}),
  "DeviceClassConfiguration": (1, {"opaque": 1}), "RuleWithOperations": (2, RULE)}
for n in "ConfigMapEnvSource ConfigMapKeySelector ConfigMapProjection ConfigMapVolumeSource SecretEnvSource SecretKeySelector SecretProjection".split():
  INLINE[n] = (1, {"name": 1})
# JSON name -> name of the same field on the protobuf side.
SPECIAL = {"Quantity": "quantity", "Time": "time", "MicroTime": "microtime", "RawExtension": "raw", "IntOrString": "intorstring",
  "FieldsV1": "fieldsv1", "JSON": "any"}
OR = {"JSONSchemaPropsOrArray": "schema_or_array", "JSONSchemaPropsOrBool": "schema_or_bool", "JSONSchemaPropsOrStringArray": "schema_or_strings"}

def short(name): return name.rsplit(".", 1)[1]
def keys_of(tname, fname):
  parts = tname.split(".")
  return {"%s.%s" % (parts[-1], fname), "%s.%s.%s.%s" % (parts[-3], parts[-2], parts[-1], fname)}

def main(facts_dir, columns_file):
  facts = {g: json.load(open(os.path.join(facts_dir, g + ".json"))) for g in GROUPS}
  columns = json.load(open(columns_file))
  types = {t: v for f in facts.values() for t, v in f["types"].items()}
  def kind_of(x):
    if x["t"] == "ref":
      s = short(x["r"])
      if s in SPECIAL and "apimachinery" in x["r"] or s == "JSON": return SPECIAL[s]
      if s in OR: return OR[s]
      return "object:" + x["r"]
    if x["t"] == "string": return {"byte": "bytes", "date-time": "time"}.get(x.get("f"), "string")
    if x["t"] == "integer": return x.get("f", "int64")
    if x["t"] == "number": return "double"
    if x["t"] == "boolean": return "bool"
    if x["t"] == "array": return "strings"
    if x["t"] == "object": return "raw"
    raise ValueError(x)
  out_dir = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tables")
  os.makedirs(out_dir, exist_ok=True)
  for g, f in facts.items():
    lines = []
    group, version = f.get("group", ""), f.get("version", "v1")
    if g != "_meta_v1":
      lines.append("group %s %s" % (group or "core", version))
    for r in f.get("resources", []):
      row = ["resource", r["n"], r["k"], r.get("s") or r["k"].lower(), "verbs=" + ",".join(r["v"])]
      if r.get("sn"): row.append("short=" + ",".join(r["sn"]))
      if r.get("c"): row.append("categories=" + ",".join(r["c"]))
      if r.get("ns"): row.append("namespaced")
      if r.get("svh"): row.append("hash=" + r["svh"])
      lines.append(" ".join(row))
      for s, sv in sorted(r.get("sub", {}).items()):
        lines.append("  sub %s %s %s %s" % (s, (sv.get("g", group) or "core") + "/" + sv.get("ver", version), sv["k"], ",".join(sv["v"])))
      for c in columns.get((group + "/" if group else "") + version + "/" + r["n"], []):
        lines.append("  col %s|%s|%s|%d" % tuple(c))
    for t, v in sorted(f["types"].items()):
      s = short(t)
      if (s in SPECIAL and ("apimachinery" in t or s == "JSON")) or s in OR or s in ("Info", "Patch"): continue
      row = ["type", t]
      if v.get("mt") == "atomic": row.append("atomic")
      for x in v.get("x", []): row.append("kind=%s/%s/%s" % (x[0] or "core", x[1], x[2]))
      lines.append(" ".join(row))
      top = bool(v.get("x")) and not s.endswith("List")
      req = v.get("req", [])
      pbonly = {k.lower().replace("xkubernetes", "x-kubernetes-"): n for k, n in v.get("pbonly", {}).items()}
      for n, x in sorted(v.get("fl", {}).items()):
        k = x["t"]
        if k == "array": kind = "list:" + kind_of(x["i"])
        elif k == "map": kind = "map:" + kind_of(x["i"])
        else: kind = kind_of(x)
        names = keys_of(t, n)
        row = [n, kind]
        num, inl = x.get("n", 0), 0
        if not num and s in INLINE and n in INLINE[s][1]: inl, num = INLINE[s][0], INLINE[s][1][n]
        if s == "NamedRuleWithOperations" and not num:
          inl, num = (2, 1) if n == "operations" else (0x22, RULE[n])
        if s == "EphemeralContainer" and not num and n != "targetContainerName":
          inl, num = 1, types[t.replace("EphemeralContainer", "Container")]["fl"][n]["n"]
        if not num and n not in ("apiVersion", "kind"):
          for p, pv in v.get("pbonly", {}).items():
            q = p.lower().replace("-", "")
            if q == n.lower().replace("$", "").replace("-", ""): num = pv[0]
        if num: row.append("n=%d" % num)
        if inl: row.append("in=%d" % inl)
        scalar = kind in ("string", "int32", "int64", "bool", "double", "bytes")
        if n in req and not (top and n in ("metadata",)): row.append("req")
        elif scalar:
          ptr = kind in ("int32", "int64", "bool", "double") and n not in PLAIN and not (names & PLAIN_IN)
          if names & POINTER_IN: ptr = True
          if ptr: row.append("ptr")
        if (top and n in ("metadata", "spec", "status") and kind.startswith("object:")) or names & ALWAYS:
          if not names & NOT_ALWAYS: row.append("always")
        if x.get("lt"): row.append("list=" + x["lt"])
        if x.get("lk"): row.append("keys=" + ",".join(x["lk"]))
        if x.get("mt") == "atomic": row.append("atomic")
        if x.get("pk"): row.append("merge=" + x["pk"])
        if x.get("ps"): row.append("strategy=" + x["ps"])
        if x.get("e"): row.append("enum=" + ",".join(x["e"]))
        d = [DEFAULTS[k2] for k2 in names if k2 in DEFAULTS and DEFAULTS[k2] is not None] or ([x["d"]] if "d" in x else [])
        if d: row.append("default=" + json.dumps(d[0]))
        lines.append("  " + " ".join(row))
        if not num and n not in ("apiVersion", "kind"): print("no protobuf number:", t, n)
    name = "meta_v1" if g == "_meta_v1" else g
    open(os.path.join(out_dir, name + ".txt"), "w").write("\n".join(lines) + "\n")
  partial = "io.k8s.apimachinery.pkg.apis.meta.v1."
  with open(os.path.join(out_dir, "meta_v1.txt"), "a") as f:
    f.write("type %sPartialObjectMetadata kind=meta.k8s.io/v1/PartialObjectMetadata\n  apiVersion string\n  kind string\n  metadata object:%sObjectMeta n=1\n" % (partial, partial))

main(sys.argv[1], sys.argv[2])
