// Entries of the exceptions that guests handle. The stack of a PV exception holds rcx, r11, an error code for some
// vectors, rip, cs, rflags, rsp, ss. All of it and the other registers become a TrapFrame (traps.h); the way back is
// HYPERVISOR_iret, which restores rflags and works for every frame.
#define __ASSEMBLY__
#include <xen/xen.h>

    .section .text.traps, "ax", @progbits

.macro trap vector, has_code
    .global trap_\vector
    .hidden trap_\vector
trap_\vector:
    pop %rcx
    pop %r11
.if \has_code == 0
    pushq $0
.endif
    pushq $\vector
    jmp trap_common
.endm

    trap 0, 0   // #DE
    trap 1, 0   // #DB
    trap 2, 0   // NMI
    trap 3, 0   // #BP
    trap 6, 0   // #UD
    trap 13, 1  // #GP
    trap 14, 1  // #PF

trap_common:
    cld
    push %rax
    push %rbx
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %rbp
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, %rdi
    call trap_dispatch
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rbp
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rbx
    pop %rax
    add $16, %rsp
    // struct iret_context: the hypercall page's entry pushes rcx, r11 and rax below these flags.
    pushq $0
    jmp hypercall_page + __HYPERVISOR_iret * 32

    .section .note.GNU-stack, "", @progbits
