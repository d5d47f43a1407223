#include "codec/pattern.h"

#include <algorithm>

#include "base/strings.h"

namespace monopod {
namespace {

using Range = Pattern::Range;
constexpr std::uint32_t kRuneMax = 0x10FFFF;
constexpr std::uint32_t kNoRune = 0xFFFFFFFF;  // before the begin and behind the end

// One code point; a byte that is no UTF-8 stands for U+FFFD, as in Go.
std::uint32_t next_rune(std::string_view text, std::size_t& at) {
  auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  std::uint32_t c = byte(at);
  std::size_t more = c < 0x80 ? 0 : c >= 0xC2 && c < 0xE0 ? 1 : c >= 0xE0 && c < 0xF0 ? 2 : c >= 0xF0 && c < 0xF5 ? 3 : 9;
  std::uint32_t rune = more == 0 ? c : c & (0x3FU >> more);
  bool good = more != 9;
  for (std::size_t i = 1; good && i <= more; ++i) {
    std::uint32_t b = byte(at + i);
    good = (b & 0xC0U) == 0x80U;
    rune = rune << 6 | (b & 0x3FU);
  }
  if (good && ((more == 2 && (rune < 0x800 || (rune >= 0xD800 && rune < 0xE000))) || (more == 3 && (rune < 0x10000 || rune > kRuneMax)))) good = false;
  at += good ? more + 1 : 1;
  return good ? rune : 0xFFFD;
}

bool is_word(std::uint32_t c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'; }

using Set = std::vector<Range>;

void tidy(Set& set) {
  std::ranges::sort(set, {}, &Range::first);
  Set out;
  for (const Range& r : set) {
    if (!out.empty() && r.first <= out.back().last + 1) out.back().last = std::max(out.back().last, r.last);
    else out.push_back(r);
  }
  set = std::move(out);
}

Set negated(Set set) {
  tidy(set);
  Set out;
  std::uint32_t next = 0;
  for (const Range& r : set) {
    if (r.first > next) out.push_back({next, r.first - 1});
    next = r.last + 1;
  }
  if (next <= kRuneMax) out.push_back({next, kRuneMax});
  return out;
}

void fold(Set& set) {
  for (std::size_t i = 0, n = set.size(); i < n; ++i) {
    auto add = [&](std::uint32_t first, std::uint32_t last, int shift) {
      std::uint32_t a = std::max(first, set[i].first), b = std::min(last, set[i].last);
      if (a <= b) set.push_back({static_cast<std::uint32_t>(static_cast<int>(a) + shift), static_cast<std::uint32_t>(static_cast<int>(b) + shift)});
    };
    add('a', 'z', -32);
    add('A', 'Z', 32);
  }
}

struct NamedSet {
  std::string_view name;
  std::string_view pairs;  // first and last of each range
};
constexpr NamedSet kNamed[] = {
    {"d", "09"}, {"w", "09AZ__az"}, {"s", "\t\n\f\r  "},
    {"alnum", "09AZaz"}, {"alpha", "AZaz"}, {"blank", "\t\t  "}, {"digit", "09"}, {"graph", "!~"}, {"lower", "az"}, {"print", " ~"},
    {"punct", "!/:@[`{~"}, {"space", "\t\r  "}, {"upper", "AZ"}, {"word", "09AZ__az"}, {"xdigit", "09AFaf"},
};

bool add_named(Set& set, std::string_view name, bool negate) {
  Set one;
  if (name == "ascii") one.push_back({0, 0x7F});
  if (name == "cntrl") one = {{0, 0x1F}, {0x7F, 0x7F}};
  for (const NamedSet& known : kNamed)
    if (known.name == name)
      for (std::size_t i = 0; i < known.pairs.size(); i += 2) one.push_back({static_cast<unsigned char>(known.pairs[i]), static_cast<unsigned char>(known.pairs[i + 1])});
  if (one.empty()) return false;
  if (negate) one = negated(std::move(one));
  set.insert(set.end(), one.begin(), one.end());
  return true;
}

}  // namespace

// Parses to a tree, since a repetition needs its operand more than once, and emits the tree.
class PatternCompiler {
 public:
  explicit PatternCompiler(std::string_view text) : text_(text) {}

  Result<std::unique_ptr<const Pattern>> run() {
    if (text_.size() > kPatternBytesMax) return fail(Code::kResourceExhausted, cat("pattern is longer than ", kPatternBytesMax, " bytes"));
    TRY_ASSIGN(Node root, alternatives(0));
    if (at_ < text_.size()) return bad("unexpected )", text_);
    out_ = std::make_unique<Pattern>();
    TRY(emit(root));
    TRY(add({Op::kMatch}));
    return std::unique_ptr<const Pattern>(std::move(out_));
  }

 private:
  using Op = Pattern::Instruction;
  struct Node {
    enum Kind : std::uint8_t { kEmpty, kSet, kAssert, kConcat, kAlternate, kRepeat } kind = kEmpty;
    Pattern::Assertion assertion{};
    Set set;
    int min = 0, max = 0;  // kRepeat; -1: no end
    std::vector<Node> children;
    mutable std::int64_t place = -1;  // kSet: of its ranges, once they are written; a repeated set has them once
    std::size_t weight = 1;  // instructions, about
  };
  struct Flags {
    bool fold = false, dot_all = false, multi_line = false;
  };

  static std::unexpected<Error> bad(std::string_view what, std::string_view where) {
    return fail(Code::kInvalidArgument, cat("error parsing regexp: ", what, ": `", where, "`"));
  }
  bool more() const { return at_ < text_.size(); }
  char peek() const { return text_[at_]; }
  bool take(std::string_view expected) {
    if (!text_.substr(at_).starts_with(expected)) return false;
    at_ += expected.size();
    return true;
  }

  Node set_of(Set set) const {
    if (flags_.fold) fold(set);
    tidy(set);
    Node node;
    node.kind = Node::kSet;
    node.set = std::move(set);
    return node;
  }
  static Node assert_of(Pattern::Assertion assertion) {
    Node node;
    node.kind = Node::kAssert;
    node.assertion = assertion;
    return node;
  }

  Result<Node> alternatives(int depth) {
    if (depth > kPatternDepthMax) return fail(Code::kResourceExhausted, "expression nests too deeply");
    Node out;
    out.kind = Node::kAlternate;
    out.weight = 0;
    while (true) {
      TRY_ASSIGN(Node branch, concatenation(depth));
      out.weight += branch.weight + 2;
      out.children.push_back(std::move(branch));
      if (!take("|")) break;
    }
    if (out.children.size() == 1) return Node(std::move(out.children[0]));
    return out;
  }

  Result<Node> concatenation(int depth) {
    Node out;
    out.kind = Node::kConcat;
    out.weight = 0;
    while (more() && peek() != '|' && peek() != ')') {
      if (take("\\Q")) {
        while (more() && !take("\\E")) {
          std::uint32_t c = next_rune(text_, at_);
          out.children.push_back(set_of({{c, c}}));
          ++out.weight;
        }
        continue;
      }
      std::size_t begin = at_;
      TRY_ASSIGN(Node one, atom(depth));
      if (one.kind == Node::kEmpty && text_.substr(begin).starts_with("(?") && text_[at_ - 1] == ')' && flag_group_) {
        flag_group_ = false;
        continue;
      }
      TRY_ASSIGN(one, repeated(std::move(one)));
      out.weight += one.weight;
      if (out.weight > kPatternProgramMax) return too_large();
      out.children.push_back(std::move(one));
    }
    return out;
  }

  static std::unexpected<Error> too_large() { return fail(Code::kResourceExhausted, "expression is too large"); }

  Result<Node> repeated(Node operand) {
    int times = 0;
    while (more()) {
      std::size_t op = at_;
      int min = 0, max = -1;
      if (take("*")) {
      } else if (take("+")) {
        min = 1;
      } else if (take("?")) {
        max = 1;
      } else if (peek() != '{' || !counts(min, max)) {
        break;
      }
      take("?");  // lazy: the same language
      if (++times > 1) return bad("invalid nested repetition operator", text_.substr(op, at_ - op));
      if (max > kPatternRepeatMax || min > kPatternRepeatMax || (max >= 0 && min > max)) return bad("invalid repeat count", text_.substr(op, at_ - op));
      Node node;
      node.kind = Node::kRepeat;
      node.min = min;
      node.max = max;
      node.weight = (operand.weight + 2) * static_cast<std::size_t>(std::max({min, max, 1}));
      if (node.weight > kPatternProgramMax) return too_large();
      node.children.push_back(std::move(operand));
      operand = std::move(node);
    }
    return operand;
  }

  // {n} {n,} {n,m}; anything else is literal text.
  bool counts(int& min, int& max) {
    std::size_t close = text_.find('}', at_);
    if (close == std::string_view::npos) return false;
    auto [first, second] = split_once(text_.substr(at_ + 1, close - at_ - 1), ',');
    auto low = parse_int<std::uint16_t>(first);
    if (!low) return false;
    min = *low;
    max = min;
    if (second) {
      auto high = parse_int<std::uint16_t>(*second);
      if (!second->empty() && !high) return false;
      max = second->empty() ? -1 : *high;
    }
    at_ = close + 1;
    return true;
  }

  Result<Node> atom(int depth) {
    char c = peek();
    switch (c) {
      case '(': return group(depth);
      case '[': return bracket();
      case '\\': return escape();
      case '.':
        ++at_;
        return set_of(flags_.dot_all ? Set{{0, kRuneMax}} : Set{{0, '\n' - 1}, {'\n' + 1, kRuneMax}});
      case '^': ++at_; return assert_of(flags_.multi_line ? Pattern::kLineBegin : Pattern::kTextBegin);
      case '$': ++at_; return assert_of(flags_.multi_line ? Pattern::kLineEnd : Pattern::kTextEnd);
      case '*':
      case '+':
      case '?': return bad("missing argument to repetition operator", text_.substr(at_, 1));
      default: break;
    }
    std::uint32_t rune = next_rune(text_, at_);
    return set_of({{rune, rune}});
  }

  Result<Node> group(int depth) {
    std::size_t begin = at_++;
    Flags outer = flags_;
    if (take("?")) {
      if (take("P<") || take("<")) {
        if (more() && (peek() == '=' || peek() == '!')) return bad("invalid or unsupported Perl syntax", text_.substr(begin, 4));
        std::size_t close = text_.find('>', at_);
        if (close == std::string_view::npos) return bad("invalid named capture", text_.substr(begin));
        at_ = close + 1;
      } else {
        bool on = true, done = false;
        while (more() && !done) {
          char f = text_[at_++];
          switch (f) {
            case 'i': flags_.fold = on; break;
            case 's': flags_.dot_all = on; break;
            case 'm': flags_.multi_line = on; break;
            case 'U': break;
            case '-': on = false; break;
            case ':': done = true; break;
            case ')': flag_group_ = true; return Node{};  // for the rest of this group
            default: return bad("invalid or unsupported Perl syntax", text_.substr(begin, at_ - begin));
          }
        }
        if (!done) return bad("missing closing )", text_);
      }
    }
    TRY_ASSIGN(Node inner, alternatives(depth + 1));
    if (!take(")")) return bad("missing closing )", text_);
    flags_ = outer;
    return inner;
  }

  Result<std::uint32_t> escaped_rune(std::size_t begin) {
    if (!more()) return bad("trailing backslash at end of expression", "");
    std::uint32_t c = next_rune(text_, at_);
    switch (c) {
      case 'a': return 7U;
      case 'f': return 12U;
      case 'n': return 10U;
      case 'r': return 13U;
      case 't': return 9U;
      case 'v': return 11U;
      case 'x': return hex(begin);
      case '0': return 0U;
      default: break;
    }
    if (c < 0x80 && !is_word(c)) return c;
    return bad("invalid escape sequence", text_.substr(begin, at_ - begin));
  }

  Result<std::uint32_t> hex(std::size_t begin) {
    std::string_view digits;
    if (take("{")) {
      std::size_t close = text_.find('}', at_);
      if (close == std::string_view::npos) return bad("invalid escape sequence", text_.substr(begin));
      digits = text_.substr(at_, close - at_);
      at_ = close + 1;
    } else {
      digits = text_.substr(at_, 2);
      at_ = std::min(at_ + 2, text_.size());
    }
    std::uint32_t value = 0;
    auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.empty() || ec != std::errc() || end != digits.data() + digits.size() || value > kRuneMax)
      return bad("invalid escape sequence", text_.substr(begin, at_ - begin));
    return value;
  }

  Result<Node> escape() {
    std::size_t begin = at_++;
    if (more()) {
      char c = peek();
      std::string_view name("dws");
      bool negate = c >= 'A' && c <= 'Z';
      char low = negate ? static_cast<char>(c + 32) : c;
      if (name.find(low) != std::string_view::npos) {
        ++at_;
        Set set;
        add_named(set, std::string_view(&low, 1), negate);
        return set_of(std::move(set));
      }
      auto assertion = [&](Pattern::Assertion a) {
        ++at_;
        return assert_of(a);
      };
      if (c == 'b') return assertion(Pattern::kWordBoundary);
      if (c == 'B') return assertion(Pattern::kNoWordBoundary);
      if (c == 'A') return assertion(Pattern::kTextBegin);
      if (c == 'z') return assertion(Pattern::kTextEnd);
      if (low == 'p') return bad("Unicode character classes are not supported", text_.substr(begin, 2));
    }
    TRY_ASSIGN(std::uint32_t rune, escaped_rune(begin));
    return set_of({{rune, rune}});
  }

  Result<Node> bracket() {
    std::size_t begin = at_++;
    bool negate = take("^");
    Set set;
    bool first = true;
    while (true) {
      if (!more()) return bad("missing closing ]", text_.substr(begin));
      if (peek() == ']' && !first) break;
      first = false;
      if (text_.substr(at_).starts_with("[:")) {
        std::size_t close = text_.find(":]", at_);
        if (close != std::string_view::npos) {
          std::string_view name = text_.substr(at_ + 2, close - at_ - 2);
          bool inverse = name.starts_with('^');
          if (inverse) name.remove_prefix(1);
          if (name.size() < 2 || !add_named(set, name, inverse)) return bad("invalid character class range", text_.substr(at_, close + 2 - at_));
          at_ = close + 2;
          continue;
        }
      }
      std::size_t item = at_;
      if (peek() == '\\' && at_ + 1 < text_.size()) {
        char c = text_[at_ + 1];
        bool inverse = c >= 'A' && c <= 'Z';
        char low = inverse ? static_cast<char>(c + 32) : c;
        if (low == 'd' || low == 'w' || low == 's') {
          at_ += 2;
          add_named(set, std::string_view(&low, 1), inverse);
          continue;
        }
        if (low == 'p') return bad("Unicode character classes are not supported", text_.substr(at_, 2));
      }
      TRY_ASSIGN(std::uint32_t low, one_of_bracket());
      std::uint32_t high = low;
      if (text_.substr(at_).size() >= 2 && peek() == '-' && text_[at_ + 1] != ']') {
        ++at_;
        TRY_ASSIGN(high, one_of_bracket());
        if (high < low) return bad("invalid character class range", text_.substr(item, at_ - item));
      }
      set.push_back({low, high});
    }
    ++at_;
    if (flags_.fold) fold(set);
    if (negate) set = negated(std::move(set));
    tidy(set);
    Node node;
    node.kind = Node::kSet;
    node.set = std::move(set);
    return node;
  }

  Result<std::uint32_t> one_of_bracket() {
    std::size_t begin = at_;
    if (take("\\")) return escaped_rune(begin);
    return next_rune(text_, at_);
  }

  Result<> add(Op instruction) {
    if (out_->program_.size() >= kPatternProgramMax) return too_large();
    out_->program_.push_back(instruction);
    return {};
  }
  std::uint32_t here() const { return static_cast<std::uint32_t>(out_->program_.size()); }

  Result<> emit(const Node& node) {
    switch (node.kind) {
      case Node::kEmpty: return {};
      case Node::kSet: {
        if (node.set.size() == 1 && node.set[0].first == 0 && node.set[0].last == kRuneMax) return add({Op::kAny});
        Op op{Op::kSet};
        if (node.place < 0) {
          node.place = static_cast<std::int64_t>(out_->ranges_.size());
          out_->ranges_.insert(out_->ranges_.end(), node.set.begin(), node.set.end());
        }
        op.x = static_cast<std::uint32_t>(node.place);
        op.y = static_cast<std::uint32_t>(node.set.size());
        return add(op);
      }
      case Node::kAssert: return add({Op::kAssert, node.assertion});
      case Node::kConcat:
        for (const Node& child : node.children) TRY(emit(child));
        return {};
      case Node::kAlternate: {
        std::vector<std::uint32_t> ends;
        for (std::size_t i = 0; i < node.children.size(); ++i) {
          bool last = i + 1 == node.children.size();
          std::uint32_t split = here();
          if (!last) TRY(add({Op::kSplit, 0, split + 1, 0}));
          TRY(emit(node.children[i]));
          if (last) break;
          ends.push_back(here());
          TRY(add({Op::kJump}));
          out_->program_[split].y = here();
        }
        for (std::uint32_t end : ends) out_->program_[end].x = here();
        return {};
      }
      case Node::kRepeat: return emit_repeat(node);
    }
    return {};
  }

  Result<> emit_repeat(const Node& node) {
    const Node& child = node.children[0];
    for (int i = 0; i < node.min; ++i) TRY(emit(child));
    if (node.max < 0) {
      std::uint32_t split = here();
      TRY(add({Op::kSplit, 0, split + 1, 0}));
      TRY(emit(child));
      TRY(add({Op::kJump, 0, split, 0}));
      out_->program_[split].y = here();
      return {};
    }
    std::vector<std::uint32_t> splits;
    for (int i = node.min; i < node.max; ++i) {
      splits.push_back(here());
      TRY(add({Op::kSplit, 0, here() + 1, 0}));
      TRY(emit(child));
    }
    for (std::uint32_t split : splits) out_->program_[split].y = here();
    return {};
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Flags flags_;
  bool flag_group_ = false;
  std::unique_ptr<Pattern> out_;
};

Result<std::unique_ptr<const Pattern>> Pattern::compile(std::string_view text) { return PatternCompiler(text).run(); }

bool Pattern::holds(Assertion assertion, std::uint32_t before, std::uint32_t after) const {
  switch (assertion) {
    case kTextBegin: return before == kNoRune;
    case kTextEnd: return after == kNoRune;
    case kLineBegin: return before == kNoRune || before == '\n';
    case kLineEnd: return after == kNoRune || after == '\n';
    case kWordBoundary: return is_word(before) != is_word(after);
    case kNoWordBoundary: return is_word(before) == is_word(after);
  }
  return false;
}

bool Pattern::matches(std::string_view text, MatchBudget& budget) const {
  std::size_t setting_up = program_.size() / 8;
  if (budget.steps < setting_up) {
    budget.spent = true;
    return false;
  }
  budget.steps -= setting_up;
  // States reached so far at this place, each once: mark holds the place's number.
  std::vector<std::uint32_t> now, next, stack;
  std::vector<std::size_t> mark(program_.size(), 0);
  std::size_t place = 0, at = 0;
  std::uint32_t before = kNoRune;
  bool anchored = program_[0].op == Instruction::kAssert && program_[0].assertion == kTextBegin;
  while (true) {
    ++place;
    std::size_t after_at = at;
    std::uint32_t rune = at < text.size() ? next_rune(text, after_at) : kNoRune;
    now.swap(next);
    next.clear();
    now.push_back(0);  // a match may begin anywhere
    for (std::uint32_t seed : now) {
      stack.push_back(seed);
      while (!stack.empty()) {
        std::uint32_t pc = stack.back();
        stack.pop_back();
        if (mark[pc] == place) continue;
        mark[pc] = place;
        if (budget.steps == 0) {
          budget.spent = true;
          return false;
        }
        --budget.steps;
        const Instruction& op = program_[pc];
        switch (op.op) {
          case Instruction::kMatch: return true;
          case Instruction::kJump: stack.push_back(op.x); break;
          case Instruction::kSplit:
            stack.push_back(op.y);
            stack.push_back(op.x);
            break;
          case Instruction::kAssert:
            if (holds(static_cast<Assertion>(op.assertion), before, rune)) stack.push_back(pc + 1);
            break;
          case Instruction::kAny:
            if (rune != kNoRune) next.push_back(pc + 1);
            break;
          case Instruction::kSet: {
            if (rune == kNoRune) break;
            auto begin = ranges_.begin() + op.x, end = begin + op.y;
            auto it = std::upper_bound(begin, end, rune, [](std::uint32_t c, const Range& r) { return c < r.first; });
            if (it != begin && rune <= std::prev(it)->last) next.push_back(pc + 1);
            break;
          }
        }
      }
    }
    if (rune == kNoRune || (next.empty() && anchored)) return false;
    before = rune;
    at = after_at;
  }
}

}  // namespace monopod
