// Transactions as people type them: the text that `etcdctl txn` reads (etcd's etcdctl/README.md, TXN).
//
//   mod("k") > "0"          comparisons, one a line: c|create, m|mod, ver|version, val|value, lease; = != < >
//   value("k") = "1"
//                           an empty line
//   put k "new value"       what to do if all hold: put, get, del with etcdctl's flags
//   get k --prefix
//                           an empty line
//   del k                   what to do otherwise; ended by an empty line or the end
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "store/types.h"

namespace monopod::etcd {

// A key range as commands give it: KEY [RANGE_END], --prefix, --from-key. Both empty with prefix or from_key: every key.
struct KeyRangeText {
  std::string key{};
  std::string range_end{};
  bool prefix = false;
  bool from_key = false;
};
struct ParsedRange {
  std::string key{};
  std::string range_end{};
};
Result<ParsedRange> parse_key_range(const KeyRangeText& text);

// Errors: kInvalidArgument, naming what is wrong with the line.
Result<store::Compare> parse_compare(std::string_view line);
Result<store::Op> parse_operation(std::string_view line);
Result<store::Txn> parse_txn_text(std::string_view text);

// Words of a line: separated by blanks; "…" with Go's escapes and '…' without any hold blanks.
Result<std::vector<std::string>> split_words(std::string_view line);

}  // namespace monopod::etcd
