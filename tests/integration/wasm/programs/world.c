// What a guest sees of time and chance.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(void) {
  struct timespec first, second;
  clock_gettime(CLOCK_REALTIME, &first);
  sleep(3600);
  clock_gettime(CLOCK_REALTIME, &second);
  uint64_t number;
  getentropy(&number, sizeof number);
  volatile double zero = 0;
  double nan = -(zero / zero) * 2;
  uint64_t bits;
  memcpy(&bits, &nan, sizeof bits);
  printf("%lld slept %lld random %016llx nan %016llx\n", (long long)first.tv_sec, (long long)(second.tv_sec - first.tv_sec), (unsigned long long)number, (unsigned long long)bits);
  return 0;
}
