#include "registry/access.h"

#include <openssl/crypto.h>

#include "base/bytes.h"
#include "base/strings.h"
#include "image/digest.h"
#include "pki/password.h"
#include "registry/bcrypt.h"

namespace monopod::registry {
namespace {

bool equal(std::string_view a, std::string_view b) { return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

}  // namespace

Result<std::unique_ptr<Access>> Access::parse(std::string_view file) {
  auto out = std::make_unique<Access>();
  std::size_t number = 0;
  for (std::string_view line : split(file, '\n')) {
    ++number;
    line = trim(line);
    if (line.empty() || line.starts_with('#')) continue;
    auto [user, hash] = split_once(line, ':');
    if (!hash || user.empty()) return fail(Code::kInvalidArgument, cat("line ", number, ": want user:hash"));
    if (!is_bcrypt_hash(*hash) && !hash->starts_with("$scrypt$")) return fail(Code::kInvalidArgument, cat("line ", number, ": the hash of ", user, " is neither bcrypt (htpasswd -B) nor scrypt"));
    out->hashes_.insert_or_assign(std::string(user), std::string(*hash));
    if (out->hashes_.size() > kUsersMax) return fail(Code::kInvalidArgument, cat("more than ", kUsersMax, " users"));
  }
  return out;
}

async::Task<bool> Access::allows(std::string authorization, async::Pool& pool) const {
  auto [scheme, value] = split_once(authorization, ' ');
  auto pair = iequals(scheme, "basic") ? parse_base64(trim(value.value_or(""))) : std::nullopt;
  if (!pair) co_return false;
  auto [name, secret] = split_once(*pair, ':');
  if (!secret) co_return false;
  std::string user(name), password(*secret);
  auto found = hashes_.find(user);
  std::string proof = image::digest_of(cat(user, ":", password));
  if (auto known = right_.find(user); known != right_.end() && equal(known->second, proof)) co_return true;
  // An unknown user takes as long as a known one.
  static constexpr std::string_view kNobody = "$2b$10$......................0000000000000000000000000000000";
  std::string hash = found == hashes_.end() ? std::string(kNobody) : found->second;
  bool right = co_await pool.run([&] { return is_bcrypt_hash(hash) ? verify_bcrypt(password, hash) : pki::verify_password(password, hash); });
  if (!right || found == hashes_.end()) co_return false;
  right_.insert_or_assign(std::move(user), std::move(proof));
  co_return true;
}

}  // namespace monopod::registry
