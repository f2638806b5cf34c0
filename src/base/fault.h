/* fault.h: countdown fault points, for tests of what happens when the n-th allocation, thread start,
 * descriptor or VFS call fails. Compiled out unless LLI_FAULTS is 1. */
#ifndef LLI_BASE_FAULT_H
#define LLI_BASE_FAULT_H

#include <stdbool.h>

enum lli_fault_kind {
    LLI_FAULT_ALLOC,
    LLI_FAULT_THREAD,
    LLI_FAULT_FD,
    LLI_FAULT_VFS,
    LLI_FAULT_ATTEMPT, /* an attempt on the loop ends here, as if a page were missing */
    LLI_FAULT_KINDS
};

#ifndef LLI_FAULTS
#    define LLI_FAULTS 0
#endif

#if LLI_FAULTS
/* Makes the nth call from now (1: the next one) of this kind fail, once, in any thread. */
void lli_fault_arm(enum lli_fault_kind kind, unsigned long nth);
/* Whether the armed fault has happened. */
bool lli_fault_fired(void);
void lli_fault_disarm(void);
/* Asked by the code under test: true means "fail now". */
bool lli_fault(enum lli_fault_kind kind);
#    define LLI_FAULT(kind) lli_fault(kind)
#else
#    define LLI_FAULT(kind) false
#endif

#endif
