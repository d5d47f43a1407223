#include <cstdio>

int main() {
  std::puts("monopod " MONOPOD_VERSION);
  return 0;
}
