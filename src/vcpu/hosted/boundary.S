// Into a hosted guest and back. See boundary.h for the ranges that the signal handlers rely on.
#include "vcpu/hosted/boundary_layout.h"

#define BOUNDARY(field) xenopolis_hosted_boundary + BOUNDARY_##field(%rip)

.macro exported name
    .global \name
    .hidden \name
\name:
.endm

    .bss
    .p2align 4
exported xenopolis_hosted_boundary
    .fill BOUNDARY_SIZE, 1, 0

    .text
    .p2align 4
    .type xenopolis_hosted_enter, @function
exported xenopolis_hosted_enter
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, BOUNDARY(RUNNER_RSP)
exported xenopolis_hosted_enter_begin
    movl $1, BOUNDARY(IN_GUEST)
    // A kick before this look has set the flag; one after it finds RIP in this range and calls the entry off.
    cmpl $0, BOUNDARY(KICKED)
    jne xenopolis_hosted_interrupted
    mov BOUNDARY(REGISTERS), %rdi
    mov %ss, %eax
    push %rax
    pushq REGISTERS_RSP(%rdi)
    pushq REGISTERS_RFLAGS(%rdi)
    mov %cs, %eax
    push %rax
    pushq REGISTERS_RIP(%rdi)
    mov REGISTERS_RAX(%rdi), %rax
    mov REGISTERS_RBX(%rdi), %rbx
    mov REGISTERS_RCX(%rdi), %rcx
    mov REGISTERS_RDX(%rdi), %rdx
    mov REGISTERS_RSI(%rdi), %rsi
    mov REGISTERS_RBP(%rdi), %rbp
    mov REGISTERS_R8(%rdi), %r8
    mov REGISTERS_R9(%rdi), %r9
    mov REGISTERS_R10(%rdi), %r10
    mov REGISTERS_R11(%rdi), %r11
    mov REGISTERS_R12(%rdi), %r12
    mov REGISTERS_R13(%rdi), %r13
    mov REGISTERS_R14(%rdi), %r14
    mov REGISTERS_R15(%rdi), %r15
    mov REGISTERS_RDI(%rdi), %rdi
    iretq
exported xenopolis_hosted_enter_end

    // From the guest's hypercall page: number in RAX, where to go on in RCX; R11 is free, as after SYSCALL.
exported xenopolis_hosted_exit_begin
exported xenopolis_hosted_hypercall
    mov BOUNDARY(REGISTERS), %r11
    mov %rax, REGISTERS_RAX(%r11)
    mov %rbx, REGISTERS_RBX(%r11)
    mov %rcx, REGISTERS_RCX(%r11)
    mov %rcx, REGISTERS_RIP(%r11)
    mov %rdx, REGISTERS_RDX(%r11)
    mov %rsi, REGISTERS_RSI(%r11)
    mov %rdi, REGISTERS_RDI(%r11)
    mov %rbp, REGISTERS_RBP(%r11)
    mov %rsp, REGISTERS_RSP(%r11)
    mov %r8, REGISTERS_R8(%r11)
    mov %r9, REGISTERS_R9(%r11)
    mov %r10, REGISTERS_R10(%r11)
    mov %r12, REGISTERS_R12(%r11)
    mov %r13, REGISTERS_R13(%r11)
    mov %r14, REGISTERS_R14(%r11)
    mov %r15, REGISTERS_R15(%r11)
    mov BOUNDARY(RUNNER_RSP), %rsp
    pushfq
    pop %rcx
    mov %rcx, REGISTERS_RFLAGS(%r11)
    mov %rcx, REGISTERS_R11(%r11)
    mov $BACK_HYPERCALL, %eax
    jmp .Lback

exported xenopolis_hosted_interrupted
    mov BOUNDARY(RUNNER_RSP), %rsp
    mov $BACK_INTERRUPTED, %eax
    jmp .Lback

exported xenopolis_hosted_trapped
    mov BOUNDARY(RUNNER_RSP), %rsp
    mov $BACK_TRAPPED, %eax

.Lback:
    cld
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    movl $0, BOUNDARY(IN_GUEST)
    ret
exported xenopolis_hosted_exit_end
    .size xenopolis_hosted_enter, . - xenopolis_hosted_enter

    // rt_sigreturn, __NR 15: the handlers are installed without the C library, which would have brought its own.
    .type xenopolis_hosted_sigreturn, @function
exported xenopolis_hosted_sigreturn
    mov $15, %eax
    syscall
    .size xenopolis_hosted_sigreturn, . - xenopolis_hosted_sigreturn

    .section .note.GNU-stack, "", @progbits
