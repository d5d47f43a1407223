#!/usr/bin/env python3
"""Compiles the rows under kinds/tables into schema/tables.inc: constant arrays and one string pool, offsets instead of
pointers. Run by hand after editing a row, and commit both: python3 pkg/api/kinds/generate.py"""
import glob, os

here = os.path.dirname(os.path.abspath(__file__))
VERBS = {"create": 1, "delete": 2, "deletecollection": 4, "get": 8, "list": 16, "patch": 32, "update": 64, "watch": 128}
KINDS = {"string": "kString", "bytes": "kBytes", "int32": "kInt32", "int64": "kInt64", "double": "kDouble", "bool": "kBool",
  "quantity": "kQuantity", "time": "kTime", "microtime": "kMicroTime", "intorstring": "kIntOrString", "strings": "kStringList",
  "raw": "kRawObject", "fieldsv1": "kFieldsV1", "any": "kAny", "schema_or_array": "kSchemaOrArray", "schema_or_bool": "kSchemaOrBool",
  "schema_or_strings": "kSchemaOrStringArray"}
SCHEMA = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"

# The pool: a length byte, then the text; an offset names the length byte. Offset 0 is the empty text.
pool, offsets = [""], {"": 0}
pool_size = 1
def text(s):
  global pool_size
  if s not in offsets:
    assert len(s) < 256 and s.isascii(), s
    offsets[s] = pool_size
    pool.append(s)
    pool_size += len(s) + 1
  return offsets[s]
types, resources, kinds = {}, [], []
for path in sorted(glob.glob(os.path.join(here, "tables", "*.txt"))):
  group = version = None
  for line in open(path):
    w = line.split()
    if not w: continue
    opt = dict(x.split("=", 1) for x in w if "=" in x)
    if not line.startswith(" "):
      if w[0] == "group": group, version = w[1].replace("core", "") if w[1] == "core" else w[1], w[2]
      elif w[0] == "resource":
        row = {"group": group, "version": version, "plural": w[1], "kind": w[2], "singular": w[3], "opt": opt, "ns": "namespaced" in w, "sub": [], "col": []}
        resources.append(row)
      elif w[0] == "type":
        fields = []
        types[w[1]] = {"atomic": "atomic" in w[2:], "fields": fields}
        meta = path.endswith("meta_v1.txt")
        if meta and w[1].endswith(".DeleteOptions"): kinds.append(("", "v1", "DeleteOptions", w[1]))
        for x in w[2:]:
          if x.startswith("kind="):
            g, v, k = x[5:].split("/")
            g = "" if g == "core" else g
            if not meta or g in ("", "meta.k8s.io") and v == "v1": kinds.append((g, v, k, w[1]))
    elif w[0] == "sub":
      g, v = w[2].split("/")
      row["sub"].append((w[1], "" if g == "core" else g, v, w[3], sum(VERBS[x] for x in w[4].split(","))))
    elif w[0] == "col":
      row["col"].append(line.strip()[4:].split("|"))
    else:
      shape, kind = "kSingle", w[1]
      if kind.startswith("list:"): shape, kind = "kList", kind[5:]
      elif kind.startswith("map:"): shape, kind = "kMap", kind[4:]
      ref = ""
      if kind.startswith("object:"): kind, ref = "kObject", kind[7:]
      else:
        kind = KINDS[kind]
        if kind.startswith("kSchemaOr"): ref = SCHEMA
      default = line.split("default=", 1)[1].strip() if "default=" in line else ""
      strategy = opt.get("strategy", "").split(",")
      flags = ("req" in w[2:]) | ("ptr" in w[2:]) << 1 | ("always" in w[2:]) << 2 | ("atomic" in w[2:]) << 3 | ("merge" in strategy) << 4 | ("retainKeys" in strategy) << 5
      fields.append((w[0], kind, shape, ref, int(opt.get("n", 0)), int(opt.get("in", 0)), opt.get("list", ""), opt.get("keys", ""), opt.get("merge", ""), default, flags))

names = sorted(types)
index = {n: i for i, n in enumerate(names)}
out_types, out_fields = [], []
for n in names:
  t = types[n]
  t["fields"].sort()
  out_types.append("{%d,%d,%d,%d}" % (text(n), len(out_fields), len(t["fields"]), t["atomic"]))
  for f in t["fields"]:
    lt = {"": "kNone", "atomic": "kAtomic", "set": "kSet", "map": "kMap"}[f[6]]
    out_fields.append("{%d,%d,%d,%d,%d,%d,FieldKind::%s,Shape::%s,ListType::%s,%d,%d}" % (text(f[0]), index[f[3]] + 1 if f[3] else 0,
      text(f[7]), text(f[8]), text(f[9]), f[4], f[1], f[2], lt, f[10], f[5]))
kinds = sorted(set(kinds))
by_kind = {(g, v, k): t for g, v, k, t in kinds}
out_resources, out_subs, out_cols = [], [], []
for r in sorted(resources, key=lambda r: (r["group"], r["version"], r["plural"])):
  t = by_kind[(r["group"], r["version"], r["kind"])]
  lt = by_kind.get((r["group"], r["version"], r["kind"] + "List"))
  gv = (r["group"] + "/" if r["group"] else "") + r["version"]
  out_resources.append("{%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%d,%s}" % (text(r["group"]), text(r["version"]), text(gv), text(r["plural"]),
    text(r["singular"]), text(r["kind"]), text(r["opt"].get("short", "")), text(r["opt"].get("categories", "")), text(r["opt"].get("hash", "")),
    index[t], index[lt] + 1 if lt else 0, sum(VERBS[v] for v in r["opt"]["verbs"].split(",")), len(out_subs), len(r["sub"]), len(out_cols),
    len(r["col"]), "true" if r["ns"] else "false"))
  out_subs += ["{%d,%d,%d,%d,%d}" % (text(s[0]), text(s[1]), text(s[2]), text(s[3]), s[4]) for s in r["sub"]]
  out_cols += ["{%d,%d,%d,%s}" % (text(c[0]), text(c[1]), text(c[2]), c[3]) for c in r["col"]]
out_kinds = ["{%d,%d,%d,%d}" % (text(g), text(v), text(k), index[t]) for g, v, k, t in kinds]
assert pool_size < 65536, pool_size

def array(decl, rows, per_line):
  lines = [",".join(rows[i:i + per_line]) for i in range(0, len(rows), per_line)]
  return "%s[] = {\n%s\n};\n" % (decl, ",\n".join(lines))
with open(os.path.join(here, "..", "schema", "tables.inc"), "w") as f:
  f.write("// Made by kinds/generate.py from kinds/tables; do not edit.\n")
  f.write("constexpr char kPool[] =\n")
  line = ""
  for w in pool:
    # Three octal digits: no digit that follows can join them.
    item = "\\%03o" % len(w) + w.replace("\\", "\\\\").replace('"', '\\"')
    if len(line) + len(item) > 130:
      f.write('"%s"\n' % line); line = ""
    line += item
  f.write('"%s";\n' % line)
  f.write(array("constexpr Type kTypes", out_types, 8))
  f.write(array("constexpr Field kFields", out_fields, 3))
  f.write(array("constexpr Resource kResources", out_resources, 2))
  f.write(array("constexpr Subresource kSubresources", out_subs, 6))
  f.write(array("constexpr Column kColumns", out_cols, 8))
  f.write(array("constexpr KindRow kKinds", out_kinds, 8))
print("%d types, %d fields, %d resources, %d kinds, pool %d bytes" % (len(names), len(out_fields), len(resources), len(kinds), pool_size))
