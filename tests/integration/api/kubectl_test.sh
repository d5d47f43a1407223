#!/usr/bin/env bash
# Real kubectl against the API server on loopback: MONOPOD_KUBECTL, or the one that the build fetched; skips loudly without one.
#   kubectl_test.sh PATH-OF-api_test_server [etcd]
# etcd: the objects are in an etcd of Debian's etcd-server that the test starts. Only with MONOPOD_LONG=1.
set -u
server=$1
kubectl_bin=${MONOPOD_KUBECTL:-$(dirname "$(realpath "$0")")/../../../build/tools/kubectl}
if [ ! -x "$kubectl_bin" ]; then
  echo "SKIP: no kubectl: run packaging/scripts/get-kubectl build/tools"
  exit 77
fi
dir=$(mktemp -d)
export KUBECONFIG=$dir/kubeconfig KUBECACHEDIR=$dir/cache HOME=$dir
store=$dir/state.db etcd_pid=
if [ "${2:-}" = etcd ]; then
  [ -n "${MONOPOD_LONG:-}" ] || { rm -rf "$dir"; echo "SKIP: needs MONOPOD_LONG=1; node_datastore has the short one"; exit 77; }
  command -v etcd >/dev/null || { rm -rf "$dir"; echo "SKIP: needs etcd (package etcd-server)"; exit 77; }
  # On a unix socket: etcd names it host:port, in its working directory.
  (cd "$dir" && exec etcd --data-dir "$dir/etcd" --listen-client-urls unix://client:1 --advertise-client-urls unix://client:1 \
     --listen-peer-urls unix://peer:1 --initial-advertise-peer-urls http://127.0.0.1:1 --initial-cluster default=http://127.0.0.1:1 --log-level error >"$dir/etcd.log" 2>&1) &
  etcd_pid=$!
  store=etcd:unix:$dir/client:1
fi
coproc SERVER { exec "$server" "$dir/kubeconfig" "$store"; }
server_pid=$SERVER_PID server_stdin=${SERVER[1]}
finish() {
  eval "exec ${server_stdin}>&-"
  wait "$server_pid" 2>/dev/null
  [ -z "$etcd_pid" ] || { kill "$etcd_pid"; wait "$etcd_pid" 2>/dev/null; }
  rm -rf "$dir"
}
trap finish EXIT
read -r -t 30 line <&"${SERVER[0]}" || { echo "FAIL: the server did not start"; exit 1; }

failures=0
k() { timeout 30 "$kubectl_bin" "$@"; }
# check NAME EXPECTED-EXIT PATTERN -- kubectl arguments: exit code and a pattern in the output.
check() {
  local name=$1 want=$2 pattern=$3; shift 4
  local output status
  output=$(k "$@" 2>&1); status=$?
  if [ "$status" != "$want" ] || ! grep -Eq -- "$pattern" <<<"$output"; then
    failures=$((failures + 1))
    echo "FAIL $name: kubectl $*"
    echo "  exit $status, want $want; output wants /$pattern/:"
    sed 's/^/  | /' <<<"$output" | head -20
  else
    echo "ok   $name"
  fi
}

cat >"$dir/app.yaml" <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: "x:1", ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {a: "1"}
YAML
sed -e 's/replicas: 2/replicas: 3/' -e 's/a: "1"/a: "2"/' "$dir/app.yaml" >"$dir/app2.yaml"
cat >"$dir/pod.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {containers: [{name: a, image: "x:1"}, {name: b, image: "x:1"}]}
YAML
cat >"$dir/bad.yaml" <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: {name: bad}
dataa: {x: y}
YAML

check version 0 'Server Version: v1\.35' -- version
check readyz 0 'readyz check passed' -- get --raw '/readyz?verbose'
check api-resources 0 'deployments +deploy +apps/v1 +true +Deployment' -- api-resources
check api-versions 0 '^apps/v1$' -- api-versions
check namespaces 0 'kube-system +Active' -- get namespaces
check create-ns 0 'namespace/ns1 created' -- create namespace ns1
check create 0 'configmap/c2 created' -- create configmap c2 --from-literal=a=b
check create-secret 0 'secret/s created' -- create secret generic s --from-literal=a=b
check create-dep 0 'deployment.apps/dep2 created' -- create deployment dep2 --image=x:1
check create-again 1 'configmaps "c2" already exists' -- create configmap c2 --from-literal=a=b
check apply-create 0 'deployment.apps/web created' -- apply -f "$dir/app.yaml"
check apply-noop 0 'deployment.apps/web unchanged' -- apply -f "$dir/app.yaml"
check apply-change 0 'configmap/conf configured' -- apply -f "$dir/app2.yaml"
check apply-dry 0 'server dry run' -- apply -f "$dir/app.yaml" --dry-run=server
check apply-ssa 0 'serverside-applied' -- apply --server-side --force-conflicts -f "$dir/app2.yaml"
check apply-conflict 1 'conflict with' -- apply --server-side --field-manager=other -f "$dir/app.yaml"
check apply-bad 1 'unknown field "dataa"' -- apply -f "$dir/bad.yaml"
check diff 1 'replicas: 2' -- diff -f "$dir/app.yaml"
check replace 0 'replaced' -- replace -f "$dir/app.yaml"
check get-table 0 'NAME +READY +UP-TO-DATE +AVAILABLE +AGE' -- get deployments
check get-wide 0 'CONTAINERS +IMAGES' -- get deployments -o wide
check get-yaml 0 'kind: Deployment' -- get deployment web -o yaml
check get-jsonpath 0 '^2$' -- get deployment web -o 'jsonpath={.spec.replicas}'
check get-missing 1 'deployments.apps "nope" not found' -- get deployment nope
check get-chunk 0 'conf' -- get configmaps -A --chunk-size=2
check get-sel 0 'No resources found' -- get pods -l app=nothing
check get-all 0 'service/kubernetes' -- get all
check patch-strategic 0 'patched' -- patch deployment web -p '{"spec":{"minReadySeconds":1}}'
check patch-merge 0 'patched' -- patch deployment web --type=merge -p '{"spec":{"minReadySeconds":2}}'
check patch-json 0 'patched' -- patch deployment web --type=json -p '[{"op":"replace","path":"/spec/minReadySeconds","value":0}]'
check patch-status 0 'patched' -- patch deployment web --subresource=status --type=merge -p '{"status":{"observedGeneration":1}}'
check label 0 'labeled' -- label deployment web x=y --overwrite
check annotate 0 'annotated' -- annotate deployment web x=y --overwrite
check set-image 0 'image updated' -- set image deployment/web c=x:2
check scale 0 'scaled' -- scale deployment web --replicas=1
check scaled 0 '^1$' -- get deployment web -o 'jsonpath={.spec.replicas}'
check autoscale 0 'autoscaled' -- autoscale deployment web --min=1 --max=2 --cpu-percent=50
check rollout-restart 0 'restarted' -- rollout restart deployment/web
check rollout-pause 0 'paused' -- rollout pause deployment/web
check expose 0 'service/dep2 exposed' -- expose deployment dep2 --port=80
check describe-deploy 0 'RollingUpdateStrategy' -- describe deployment web
check describe-ns 0 'Status: +Active' -- describe namespace default
check describe-node 0 'node1' -- describe node node1
check describe-svc 0 'IP: +10\.43\.' -- describe service web
check explain 0 'replicas' -- explain deployment.spec
check pod-apply 0 'pod/p created' -- apply -f "$dir/pod.yaml"
check pod-get 0 'p +0/2 +Pending' -- get pods
check logs-choose 0 'Defaulted container "a" out of: a, b' -- logs p
check logs-invalid 1 'container zzz is not valid for pod p' -- logs p -c zzz
check events 0 'Started container c' -- events
check wait-jsonpath 0 'condition met' -- wait --for=jsonpath='{.data.a}'=1 configmap/conf --timeout=5s
check wait-timeout 1 'timed out waiting' -- wait --for=condition=Available deployment/web --timeout=1s
check can-i 0 'yes' -- auth can-i create pods
check can-i-no 1 'no' -- auth can-i create pods --as=bob
check can-i-list 0 'Resources' -- auth can-i --list
check whoami 0 'admin' -- auth whoami
check token 0 '^eyJ' -- create token default
check create-role 0 'created' -- create clusterrole r --verb=get --resource=pods
check taint 0 'tainted' -- taint node node1 a=b:NoSchedule
check cordon 0 'cordoned' -- cordon node1
check uncordon 0 'uncordoned' -- uncordon node1
check run 0 'pod/one created' -- run one --image=x:1 --restart=Never
check delete-pod 0 'pod "one" deleted' -- delete pod one
check delete-fg 0 'deleted' -- delete deployment dep2 --wait=false --cascade=foreground
check delete-sel 0 'deleted|No resources' -- delete configmaps -l nothing=here
check delete 0 'configmap "conf" deleted' -- delete configmap conf
check delete-ns 0 'namespace "ns1" deleted' -- delete namespace ns1 --wait=false
check metrics 0 'apiserver_request_total' -- get --raw /metrics
output=$(timeout 2 "$kubectl_bin" get configmaps -w 2>&1)
grep -q c2 <<<"$output" || { failures=$((failures + 1)); echo "FAIL watch: $output"; }

echo "failures: $failures"
[ "$failures" = 0 ]
