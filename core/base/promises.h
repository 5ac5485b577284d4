/* What a bucket promises to those who use it, beside its durability.
 *
 * Threads: constants. Ownership: none. */
#ifndef YK_BASE_PROMISES_H
#define YK_BASE_PROMISES_H

/* How a GET is known to be the newest. The numbers stand in registers. */
enum yk_reads {
    YK_READS_LEASE,   /* the members have promised the primary some time, by their clocks */
    YK_READS_CONFIRM, /* the primary asks all members once more; no clock takes part */
    YK_READS_ANY /* it need not be: any member answers, with something that was once the newest */
};

/* Who must have a write before it is answered. */
enum yk_acks {
    YK_ACKS_ALL,    /* all members: it is committed */
    YK_ACKS_PRIMARY /* the primary's journal: it is lost if that node is, before others have it */
};

#endif
