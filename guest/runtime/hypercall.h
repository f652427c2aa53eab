// Hypercalls, through the page that the domain builder filled: call hypercall_page + number * 32, arguments in rdi,
// rsi, rdx, r10, r8, r9, answer in rax; the registers of the arguments that are passed are clobbered
// (xen/arch-x86/xen-x86_64.h), and rcx and r11 where the page uses SYSCALL.
#pragma once

#include "runtime/xen.h"

extern "C" {
[[gnu::visibility("hidden")]] extern char hypercall_page[];
}

namespace xenopolis::guest {

inline constexpr unsigned kHypercallBytes = 32;

// Whatever fits a register: numbers as they are, pointers as addresses.
template <class T>
inline uint64_t as_argument(T value) {
  if constexpr (__is_enum(T) || __is_same(T, bool)) {
    return static_cast<uint64_t>(value);
  } else {
    return (uint64_t)value;
  }
}

template <unsigned kNumber>
inline long hypercall() {
  static_assert(kNumber < kPageSize / kHypercallBytes);
  long answer;
  asm volatile("call hypercall_page + %c1" : "=a"(answer) : "i"(kNumber * kHypercallBytes) : "rcx", "r11", "memory");
  return answer;
}

template <unsigned kNumber, class A>
inline long hypercall(A a) {
  long answer;
  uint64_t rdi = as_argument(a);
  asm volatile("call hypercall_page + %c2"
               : "=a"(answer), "+D"(rdi)
               : "i"(kNumber * kHypercallBytes)
               : "rcx", "r11", "memory");
  return answer;
}

template <unsigned kNumber, class A, class B>
inline long hypercall(A a, B b) {
  long answer;
  uint64_t rdi = as_argument(a), rsi = as_argument(b);
  asm volatile("call hypercall_page + %c3"
               : "=a"(answer), "+D"(rdi), "+S"(rsi)
               : "i"(kNumber * kHypercallBytes)
               : "rcx", "r11", "memory");
  return answer;
}

template <unsigned kNumber, class A, class B, class C>
inline long hypercall(A a, B b, C c) {
  long answer;
  uint64_t rdi = as_argument(a), rsi = as_argument(b), rdx = as_argument(c);
  asm volatile("call hypercall_page + %c4"
               : "=a"(answer), "+D"(rdi), "+S"(rsi), "+d"(rdx)
               : "i"(kNumber * kHypercallBytes)
               : "rcx", "r11", "memory");
  return answer;
}

template <unsigned kNumber, class A, class B, class C, class D>
inline long hypercall(A a, B b, C c, D d) {
  long answer;
  uint64_t rdi = as_argument(a), rsi = as_argument(b), rdx = as_argument(c);
  register uint64_t r10 asm("r10") = as_argument(d);
  asm volatile("call hypercall_page + %c5"
               : "=a"(answer), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r10)
               : "i"(kNumber * kHypercallBytes)
               : "rcx", "r11", "memory");
  return answer;
}

// Any number, known at run time only, with all six arguments.
inline long hypercall_numbered(unsigned number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0,
                               uint64_t e = 0, uint64_t f = 0) {
  long answer = reinterpret_cast<long>(hypercall_page + number * kHypercallBytes);
  register uint64_t r10 asm("r10") = d;
  register uint64_t r8 asm("r8") = e;
  register uint64_t r9 asm("r9") = f;
  asm volatile("call *%%rax"
               : "+a"(answer), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8), "+r"(r9)
               :
               : "rcx", "r11", "memory");
  return answer;
}

inline long event_channel_op(unsigned command, void* argument) {
  return hypercall<__HYPERVISOR_event_channel_op>(command, argument);
}

inline long sched_op(unsigned command, const void* argument) {
  return hypercall<__HYPERVISOR_sched_op>(command, argument);
}

inline long vcpu_op(unsigned command, unsigned vcpu, const void* argument) {
  return hypercall<__HYPERVISOR_vcpu_op>(command, vcpu, argument);
}

inline long grant_table_op(unsigned command, void* argument, unsigned count) {
  return hypercall<__HYPERVISOR_grant_table_op>(command, argument, count);
}

inline long xen_version(unsigned command, void* argument) {
  return hypercall<__HYPERVISOR_xen_version>(command, argument);
}

inline long memory_op(unsigned command, void* argument) {
  return hypercall<__HYPERVISOR_memory_op>(command, argument);
}

inline long update_va_mapping(const void* address, uint64_t entry, uint64_t flags) {
  return hypercall<__HYPERVISOR_update_va_mapping>(address, entry, flags);
}

}  // namespace xenopolis::guest
