// Random bytes, injected so that tests and simulations replay from a seed.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string>

namespace monopod {

class Rng {
 public:
  virtual ~Rng() = default;
  virtual std::uint64_t next() = 0;

  std::uint64_t below(std::uint64_t bound) { return next() % bound; }  // bound > 0
  // n characters of the alphabet that generateName uses: no vowels, no look-alikes (k8s.io/apimachinery rand.String).
  std::string name_suffix(std::size_t n);
  std::string uuid();  // RFC 9562 version 4
};

// getrandom(2).
class SystemRng final : public Rng {
 public:
  std::uint64_t next() override;
};

class SeededRng final : public Rng {
 public:
  explicit SeededRng(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t next() override { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

}  // namespace monopod
