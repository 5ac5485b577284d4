/* Asserts that stay on in release builds: a wrong step becomes a crash, never a wrong answer. Only
 * for mistakes of our own; what a peer, a client, a file or a plugin sent is an error, not an
 * assert.
 *
 * Threads: any. Ownership: none. */
#ifndef YK_BASE_ASSERT_H
#define YK_BASE_ASSERT_H

__attribute__((noreturn, cold)) void
yk_assert_failed(const char *expression, const char *file, int line);

#define YK_ASSERT(expression)                                                                      \
    do {                                                                                           \
        if (__builtin_expect(!(expression), 0)) {                                                  \
            yk_assert_failed(#expression, __FILE__, __LINE__);                                     \
        }                                                                                          \
    } while (0)

#endif
