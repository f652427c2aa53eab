// The event callback. At entry the stack holds rcx, r11, rip, cs, rflags, rsp, ss and upcalls are masked (the frame of
// a PV exception without an error code). The interrupted code was kernel code, ours: all of a guest runs at one
// privilege, so an IRETQ gets back without a hypercall.
//
// The race. Upcalls are unmasked before IRETQ, for nothing can do both at once:
//   1. unmask                       window begins
//   2. an event arrives: a second frame is pushed below the first, and this code is entered again
//   3. ... which could happen again before each IRETQ, so that the stack grows without bound.
// In the window every register has the interrupted code's value already and the stack pointer stands at the first
// frame's rip. So the second frame says nothing that is not known: it is thrown away, and the first one is served as
// if the event had come a moment earlier.
#define __ASSEMBLY__

    .set kMask, 1  // offset of vcpu_info.evtchn_upcall_mask; upcall.cc checks both
    .set kPending, 0

    .section .text.upcall, "ax", @progbits
    .global upcall_entry
    .hidden upcall_entry
upcall_entry:
    mov 16(%rsp), %rcx
    lea window_begin(%rip), %r11
    cmp %r11, %rcx
    jb serve
    lea window_end(%rip), %r11
    cmp %r11, %rcx
    jae serve

    pop %rcx
    pop %r11
    mov 24(%rsp), %rsp
    push %r11
    push %rcx
    incq upcall_windows(%rip)

serve:
    cld
    push %rax
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    call upcall_dispatch
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rax
    pop %rcx
    pop %r11
    // The frame shows kernel mode as privilege 0, and Xen's selectors even where the CPU runs with others (hosted); IRETQ
    // wants those.
    mov %cs, 8(%rsp)
    mov %ss, 32(%rsp)
    movb $0, this_vcpu + kMask(%rip)
    .global window_begin, window_last
    .hidden window_begin, window_last
window_begin:
    cmpb $0, this_vcpu + kPending(%rip)
    jne 1f
    iretq
window_last:
1:  movb $1, this_vcpu + kMask(%rip)
window_end:
    push %r11
    push %rcx
    jmp serve

    .section .bss.upcall, "aw", @nobits
    .p2align 3
    // How often the window was hit, for tests.
    .global upcall_windows
    .hidden upcall_windows
upcall_windows:
    .quad 0

    .section .note.GNU-stack, "", @progbits
