// void call_with_registers(uint64_t number, const Registers* before, Registers* after): a hypercall with every
// register set, and what they are afterwards. Registers: rax, rbx, rdx, rsi, rdi, rbp, r8, r9, r10, r12..r15.
    .section .text.call_with_registers, "ax", @progbits
    .global call_with_registers
    .hidden call_with_registers
call_with_registers:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    push %rdx
    shl $5, %rdi
    lea hypercall_page(%rip), %rax
    add %rdi, %rax
    mov 8(%rsi), %rbx
    mov 16(%rsi), %rdx
    mov 32(%rsi), %rdi
    mov 40(%rsi), %rbp
    mov 48(%rsi), %r8
    mov 56(%rsi), %r9
    mov 64(%rsi), %r10
    mov 72(%rsi), %r12
    mov 80(%rsi), %r13
    mov 88(%rsi), %r14
    mov 96(%rsi), %r15
    mov 24(%rsi), %rsi
    call *%rax
    // The stack pointer counts too: a wrong one finds something else here.
    pop %rcx
    mov %rax, (%rcx)
    mov %rbx, 8(%rcx)
    mov %rdx, 16(%rcx)
    mov %rsi, 24(%rcx)
    mov %rdi, 32(%rcx)
    mov %rbp, 40(%rcx)
    mov %r8, 48(%rcx)
    mov %r9, 56(%rcx)
    mov %r10, 64(%rcx)
    mov %r12, 72(%rcx)
    mov %r13, 80(%rcx)
    mov %r14, 88(%rcx)
    mov %r15, 96(%rcx)
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
    .section .note.GNU-stack, "", @progbits
