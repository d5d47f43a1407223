#include "registry/bcrypt.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/strings.h"

namespace monopod::registry {
namespace {

constexpr std::size_t kHashBytes = 60;
constexpr int kCostMin = 4, kCostMax = 17;  // 17: some 10 s
constexpr std::string_view kAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

constexpr std::size_t kKeyWords = 18, kBoxWords = 4 * 256, kWords = kKeyWords + kBoxWords;

// The fraction of pi, which is what Blowfish starts from, as 32-bit words: Machin's formula in fixed point. Cheaper to compute than to carry.
std::array<std::uint32_t, kWords> pi_words() {
  constexpr int kGuardBits = 64, kBits = static_cast<int>(kWords) * 32 + kGuardBits;
  struct Free {
    void operator()(BIGNUM* n) const { BN_free(n); }
  };
  using Number = std::unique_ptr<BIGNUM, Free>;
  auto arctan_of_inverse = [](BN_ULONG x, BN_ULONG times) {
    Number sum(BN_new()), power(BN_new()), term(BN_new());
    BN_set_word(power.get(), times);
    BN_lshift(power.get(), power.get(), kBits);
    BN_div_word(power.get(), x);
    for (BN_ULONG n = 1; !BN_is_zero(power.get()); n += 2) {
      BN_copy(term.get(), power.get());
      BN_div_word(term.get(), n);
      if (n % 4 == 1) BN_add(sum.get(), sum.get(), term.get());
      else BN_sub(sum.get(), sum.get(), term.get());
      BN_div_word(power.get(), x * x);
    }
    return sum;
  };
  Number pi = arctan_of_inverse(5, 16), other = arctan_of_inverse(239, 4);
  BN_sub(pi.get(), pi.get(), other.get());
  BN_mask_bits(pi.get(), kBits);  // without the 3
  BN_rshift(pi.get(), pi.get(), kGuardBits);
  std::vector<unsigned char> bytes(kWords * 4);
  BN_bn2binpad(pi.get(), bytes.data(), static_cast<int>(bytes.size()));
  std::array<std::uint32_t, kWords> out;
  for (std::size_t i = 0; i < kWords; ++i)
    out[i] = std::uint32_t{bytes[4 * i]} << 24 | std::uint32_t{bytes[4 * i + 1]} << 16 | std::uint32_t{bytes[4 * i + 2]} << 8 | std::uint32_t{bytes[4 * i + 3]};
  return out;
}

class Blowfish {
 public:
  explicit Blowfish(const std::array<std::uint32_t, kWords>& start) : words_(start) {}

  void encipher(std::uint32_t& left, std::uint32_t& right) const {
    const std::uint32_t* box = words_.data() + kKeyWords;
    for (std::size_t i = 0; i < 16; ++i) {
      left ^= words_[i];
      right ^= ((box[left >> 24] + box[256 + (left >> 16 & 255)]) ^ box[512 + (left >> 8 & 255)]) + box[768 + (left & 255)];
      std::swap(left, right);
    }
    std::swap(left, right);
    right ^= words_[16];
    left ^= words_[17];
  }

  // salt: 16 bytes, or none.
  void expand(std::span<const unsigned char> key, std::span<const unsigned char> salt) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < kKeyWords; ++i) words_[i] ^= next_word(key, at);
    std::uint32_t left = 0, right = 0;
    at = 0;
    for (std::size_t i = 0; i < kWords; i += 2) {
      if (!salt.empty()) {
        left ^= next_word(salt, at);
        right ^= next_word(salt, at);
      }
      encipher(left, right);
      words_[i] = left;
      words_[i + 1] = right;
    }
  }

 private:
  static std::uint32_t next_word(std::span<const unsigned char> bytes, std::size_t& at) {
    std::uint32_t word = 0;
    for (int i = 0; i < 4; ++i, at = (at + 1) % bytes.size()) word = word << 8 | bytes[at];
    return word;
  }
  std::array<std::uint32_t, kWords> words_;
};

std::string encode(std::span<const unsigned char> bytes) {
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (unsigned char byte : bytes) {
    bits = bits << 8 | byte;
    for (held += 8; held >= 6; held -= 6) out += kAlphabet[bits >> (held - 6) & 63];
  }
  if (held > 0) out += kAlphabet[bits << (6 - held) & 63];
  return out;
}

std::array<unsigned char, 16> decode_salt(std::string_view text) {
  std::array<unsigned char, 16> out{};
  std::uint32_t bits = 0;
  int held = 0;
  std::size_t at = 0;
  for (char c : text) {
    bits = bits << 6 | static_cast<std::uint32_t>(kAlphabet.find(c));
    held += 6;
    if (held >= 8 && at < out.size()) {
      held -= 8;
      out[at++] = static_cast<unsigned char>(bits >> held);
    }
  }
  return out;
}

}  // namespace

bool is_bcrypt_hash(std::string_view hash) {
  if (hash.size() != kHashBytes || !(hash.starts_with("$2a$") || hash.starts_with("$2b$") || hash.starts_with("$2y$")) || hash[6] != '$') return false;
  auto cost = parse_int<int>(hash.substr(4, 2).front() == '0' ? hash.substr(5, 1) : hash.substr(4, 2));
  return cost && *cost >= kCostMin && *cost <= kCostMax && hash.find_first_not_of(kAlphabet, 7) == std::string_view::npos;
}

bool verify_bcrypt(std::string_view password, std::string_view hash) {
  if (!is_bcrypt_hash(hash)) return false;
  int cost = (hash[4] - '0') * 10 + (hash[5] - '0');
  std::array<unsigned char, 16> salt = decode_salt(hash.substr(7, 22));
  password = password.substr(0, std::min<std::size_t>(password.find('\0'), 72));
  std::vector<unsigned char> key(password.begin(), password.end());
  if (key.size() < 72) key.push_back(0);
  Blowfish cipher(pi_words());
  cipher.expand(key, salt);
  for (std::uint32_t i = 0; i < std::uint32_t{1} << cost; ++i) {
    cipher.expand(key, {});
    cipher.expand(salt, {});
  }
  constexpr std::string_view kText = "OrpheanBeholderScryDoubt";
  std::array<unsigned char, 24> out;
  for (std::size_t block = 0; block < 3; ++block) {
    std::uint32_t half[2] = {};
    for (std::size_t i = 0; i < 8; ++i) half[i / 4] = half[i / 4] << 8 | static_cast<unsigned char>(kText[8 * block + i]);
    for (int i = 0; i < 64; ++i) cipher.encipher(half[0], half[1]);
    for (std::size_t i = 0; i < 8; ++i) out[8 * block + i] = static_cast<unsigned char>(half[i / 4] >> (24 - 8 * (i % 4)));
  }
  std::string text = encode(std::span(out).first(23));
  return CRYPTO_memcmp(text.data(), hash.data() + 29, text.size()) == 0;
}

}  // namespace monopod::registry
