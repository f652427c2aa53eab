// What one would run instead of a domain: a program that says that it is there and waits. Without the library's usual
// start: it is the least that a process can be.
#include <unistd.h>

int main() {
  const char word[] = "up\n";
  if (write(STDOUT_FILENO, word, sizeof word - 1) < 0) return 1;
  for (;;) pause();
}
