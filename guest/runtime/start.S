// Entry of every guest, its Xen notes and its hypercall page.
//
// Entry state (Xen PV): RSI = virtual address of start_info, RSP = bootstrap stack, upcalls masked, flat segments.
// The image may stand at any page-aligned base: the entry finds its own and relocates itself first.
#define __ASSEMBLY__
#include <xen/elfnote.h>

#define R_X86_64_RELATIVE 8  // System V ABI, AMD64 supplement; <elf.h> is not for assembly

.macro note_header type, size
    .p2align 2
    .long 4, \size, \type
    .asciz "Xen"
.endm

.macro note_string type, text
    note_header \type, (2f - 1f)
1:  .asciz "\text"
2:  .p2align 2
.endm

    .section .note.xen.entry, "a", @note
    note_header XEN_ELFNOTE_ENTRY, 8
    .section .note.xen.hypercall_page, "a", @note
    note_header XEN_ELFNOTE_HYPERCALL_PAGE, 8
    .section .note.xen.virt_base, "a", @note
    note_header XEN_ELFNOTE_VIRT_BASE, 8
linked_base:  // the note's value, which the linker script writes
    .section .note.xen.paddr_offset, "a", @note
    note_header XEN_ELFNOTE_PADDR_OFFSET, 8
    .section .note.xen.strings, "a", @note
    note_string XEN_ELFNOTE_XEN_VERSION, "xen-3.0"
    note_string XEN_ELFNOTE_GUEST_OS, "xenopolis-guest"
    note_string XEN_ELFNOTE_GUEST_VERSION, "1"
    note_string XEN_ELFNOTE_LOADER, "generic"
    note_string XEN_ELFNOTE_PAE_MODE, "yes"
    note_string XEN_ELFNOTE_FEATURES, "writable_page_tables|auto_translated_physmap"

    .section .hypercall_page, "ax", @progbits
    .global hypercall_page
    .hidden hypercall_page
hypercall_page:
    // Until the builder fills it, a call here faults instead of doing something.
    .fill 4096, 1, 0xcc

    .section .text.start, "ax", @progbits
    .global _start
    .hidden _start
_start:
    cld
    rdtsc
    shl $32, %rdx
    or %rax, %rdx
    mov %rdx, entry_tsc(%rip)

    // rdx = run-time base - linked base
    lea image_base(%rip), %rdx
    sub linked_base(%rip), %rdx
    lea rela_begin(%rip), %rax
    lea rela_end(%rip), %rcx
1:  cmp %rcx, %rax
    jae 3f
    // Elf64_Rela: where, what, addend. The linker was told to produce RELATIVE only; stop at anything else.
    cmpq $R_X86_64_RELATIVE, 8(%rax)
    jne 2f
    mov (%rax), %rbx
    mov 16(%rax), %rdi
    add %rdx, %rdi
    mov %rdi, (%rbx, %rdx)
    add $24, %rax
    jmp 1b
2:  ud2

3:  mov %rsi, %rdi
    xor %ebp, %ebp
    and $-16, %rsp
    call guest_main
    ud2

    .bss
    .p2align 3
    .global entry_tsc
    .hidden entry_tsc
entry_tsc:
    .quad 0

    .section .note.GNU-stack, "", @progbits
