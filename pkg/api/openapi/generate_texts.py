#!/usr/bin/env python3
"""Compiles texts/*.txt, what `kubectl explain` says, into texts.inc: the lines as they are, compressed. Refuses what the tables do not
know. Run by hand after editing a text, and commit both: python3 pkg/api/openapi/generate_texts.py

  @prefix            the types that follow have names that begin so;  * : fields of any type that says nothing of its own
  Type text          Type=Other text: with the fields of Other as well
   field text        field{A,B} text: one of these values
"""
import glob, gzip, os, re, sys

here = os.path.dirname(os.path.abspath(__file__))
types = {}
for path in glob.glob(os.path.join(here, "..", "kinds", "tables", "*.txt")):
  fields = None
  for line in open(path, encoding="utf-8"):
    w = line.split()
    if line.startswith("type "): fields = types.setdefault(w[1], {})
    elif line.startswith("  ") and fields is not None: fields[w[0]] = w[1]
    else: fields = None

lines, seen, prefix, of = [], set(), "", None
for path in sorted(glob.glob(os.path.join(here, "texts", "*.txt"))):
  for number, line in enumerate(open(path, encoding="ascii"), 1):
    line = line.rstrip("\n")
    where = "%s:%d: %s" % (os.path.basename(path), number, line)
    if line == "*": of = None
    elif line.startswith("@"): prefix = line[1:]
    else:
      match = re.fullmatch(r"( ?)(\w+)(?:\{([^}]*)\}|=(\w+))? (\S.*)", line) or sys.exit(where + ": not a line of the format")
      field, name, values, base, text = match.groups()
      if not field:
        of = prefix + name
        if of not in types: sys.exit(where + ": no such type")
        if base and prefix + base not in seen: sys.exit(where + ": the other type must come before")
      elif of is not None and types[of].get(name) is None: sys.exit(where + ": no such field of " + of)
      elif values is not None and types[of][name] not in ("string", "list:string"): sys.exit(where + ": values of what is no string")
      key = (of, name) if field else of
      if key in seen: sys.exit(where + ": said twice")
      if len(text) > 250 or not text.endswith("."): sys.exit(where + ": a short sentence is wanted")
      seen.add(key)
    lines.append(line)

data = gzip.compress("\n".join(lines).encode("ascii"), 9, mtime=0)
with open(os.path.join(here, "texts.inc"), "w") as f:
  f.write("// Made by generate_texts.py from texts; do not edit.\nconstexpr char kTexts[] =\n")
  for i in range(0, len(data), 40):
    f.write('"%s"\n' % "".join("\\%03o" % b for b in data[i:i + 40]))
  f.write(";\n")
print("%d texts, %d bytes, %d compressed" % (len(seen), sum(map(len, lines)), len(data)))
