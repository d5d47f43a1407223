// Calls itself most of the time: for profilers. hot [N]: less of it.
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static int fib(int n) {
  if (n < 2) return n;
  return fib(n - 1) + fib(n - 2);
}

int main(int argc, char** argv) {
  printf("%d\n", fib(argc > 1 ? atoi(argv[1]) : 40));
  return 0;
}
