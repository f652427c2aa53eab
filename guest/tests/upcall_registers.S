// Code that notices a change in any register.

    .set kPattern, 0x5a00000000000000

    // Every register but rax, rsp and those that the caller names holds kPattern + its number.
.macro fill
    .irp pair, "rbx,1", "rcx,2", "rdx,3", "rsi,4", "rdi,5", "rbp,6", "r8,7", "r9,8", "r10,9", "r11,10", "r12,11", "r13,12", "r14,13", "r15,14"
    fill_one \pair
    .endr
.endm
.macro fill_one register, number
    movabs $(kPattern + \number), %\register
.endm

    // Jumps to 9f with the number in eax if a register differs. kPattern + number does not fit an immediate: compare a
    // copy in rax.
.macro check_one register, number
    movabs $(kPattern + \number), %rax
    cmp %rax, %\register
    mov $\number, %eax
    jne 9f
.endm

.macro enter
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
.endm
.macro leave_with_eax
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret
.endm

    .section .text.spin_with_registers, "ax", @progbits
    .global spin_with_registers
    .hidden spin_with_registers
spin_with_registers:
    enter
    // The turns stay on the stack, so that no register of the loop is spared the check.
    push %rdi
    fill
    // The carry flag is set all the way: DEC leaves it alone.
1:  stc
    .rept 8
    nop
    .endr
    mov $15, %eax
    jnc 8f
    decq (%rsp)
    jnz 1b
    .irp pair, "rbx,1", "rcx,2", "rdx,3", "rsi,4", "rdi,5", "rbp,6", "r8,7", "r9,8", "r10,9", "r11,10", "r12,11", "r13,12", "r14,13", "r15,14"
    check_one \pair
    .endr
    xor %eax, %eax
8:
9:  pop %rdi
    leave_with_eax

    .section .text.send_with_registers, "ax", @progbits
    .global send_with_registers
    .hidden send_with_registers
send_with_registers:
    enter
    push %rsi
    push %rdi
1:  fill
    mov $4, %edi  // EVTCHNOP_send
    mov (%rsp), %rsi
    call hypercall_page + 32 * 32  // __HYPERVISOR_event_channel_op
    // Its two arguments, rcx and r11 are the hypercall's to change.
    .irp pair, "rbx,1", "rdx,3", "rbp,6", "r8,7", "r9,8", "r10,9", "r12,11", "r13,12", "r14,13", "r15,14"
    check_one \pair
    .endr
    decq 8(%rsp)
    jnz 1b
    xor %eax, %eax
9:  pop %rdi
    pop %rsi
    leave_with_eax

// unsigned return_from_window(const char* rip): what happens when an upcall comes at `rip`, in the window of upcall.S: two
// frames are on the stack, as the hypervisor leaves them, and upcalls are masked.
    .section .text.return_from_window, "ax", @progbits
    .global return_from_window
    .hidden return_from_window
return_from_window:
    enter
    // The first frame is being returned from: rcx and r11 have gone from it.
    mov %rsp, %rax
    push $0
    mov %ss, (%rsp)
    push %rax
    pushfq
    push $0
    mov %cs, (%rsp)
    lea 1f(%rip), %rax
    push %rax
    // The second one.
    mov %rsp, %rax
    and $-16, %rsp
    push $0
    push %rax
    pushfq
    push $0
    push %rdi
    fill
    push %r11
    push %rcx
    movb $1, this_vcpu + 1(%rip)  // evtchn_upcall_mask
    jmp upcall_entry
1:  .irp pair, "rbx,1", "rcx,2", "rdx,3", "rsi,4", "rdi,5", "rbp,6", "r8,7", "r9,8", "r10,9", "r11,10", "r12,11", "r13,12", "r14,13", "r15,14"
    check_one \pair
    .endr
    xor %eax, %eax
9:  leave_with_eax

    .section .note.GNU-stack, "", @progbits
