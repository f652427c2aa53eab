// What a freestanding compiler may call (GCC manual, "Standards"): it needs these four from us.
#include <cstddef>

extern "C" {

void* memcpy(void* to, const void* from, size_t size) {
  void* result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
  return result;
}

void* memmove(void* to, const void* from, size_t size) {
  auto* out = static_cast<char*>(to);
  auto* in = static_cast<const char*>(from);
  if (out <= in || out >= in + size) return memcpy(to, from, size);
  for (size_t i = size; i-- > 0;) *static_cast<volatile char*>(out + i) = in[i];
  return to;
}

void* memset(void* to, int value, size_t size) {
  void* result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(size) : "a"(value) : "memory");
  return result;
}

int memcmp(const void* a, const void* b, size_t size) {
  auto* x = static_cast<const volatile unsigned char*>(a);
  auto* y = static_cast<const volatile unsigned char*>(b);
  for (size_t i = 0; i < size; ++i) {
    int difference = x[i] - y[i];
    if (difference != 0) return difference;
  }
  return 0;
}
}
