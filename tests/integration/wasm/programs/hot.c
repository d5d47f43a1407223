// Calls itself most of the time: for profilers.
#include <stdio.h>

__attribute__((noinline)) static int fib(int n) {
  if (n < 2) return n;
  return fib(n - 1) + fib(n - 2);
}

int main(void) {
  printf("%d\n", fib(40));
  return 0;
}
