/* pollset_kqueue.c: macOS and the BSDs: one kqueue with a user event (wake-up) and a timer event.
 *
 * A kqueue descriptor can be polled. EVFILT_USER is triggered by any thread, EVFILT_TIMER once at the
 * earliest deadline, relative because not every system has absolute timers. */
#include "platform/pollset.h"

#if defined(__APPLE__) || defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__)
#    include "base/fault.h"
#    include "base/status.h"
#    include "platform/clock.h"

#    include <errno.h>
#    include <fcntl.h>
#    include <poll.h>
#    include <string.h>
#    include <sys/event.h>
#    include <sys/time.h>
#    include <unistd.h>

enum {
    WAKE_ID = 1,
    TIMER_ID = 2
};

ll_status lli_pollset_init(struct lli_pollset *set)
{
    set->wake_fd = set->timer_fd = -1;
    set->timer_due = LLI_NEVER;
    set->fd = LLI_FAULT(LLI_FAULT_FD) ? -1 : kqueue();
    if (set->fd < 0)
        return lli_refuse(LL_ESYS, "ll_engine_new: kqueue failed: %s", strerror(errno));
    fcntl(set->fd, F_SETFD, FD_CLOEXEC);
    struct kevent add;
    EV_SET(&add, WAKE_ID, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, NULL);
    if (kevent(set->fd, &add, 1, NULL, 0, NULL) != 0) {
        int error = errno;
        lli_pollset_done(set);
        return lli_refuse(LL_ESYS, "ll_engine_new: kevent failed: %s", strerror(error));
    }
    return LL_OK;
}

void lli_pollset_done(struct lli_pollset *set)
{
    if (set->fd >= 0)
        close(set->fd);
    set->fd = -1;
}

void lli_pollset_wake(struct lli_pollset *set)
{
    struct kevent wake;
    EV_SET(&wake, WAKE_ID, EVFILT_USER, 0, NOTE_TRIGGER, 0, NULL);
    kevent(set->fd, &wake, 1, NULL, 0, NULL);
}

void lli_pollset_set_timer(struct lli_pollset *set, uint64_t due_ns)
{
    if (due_ns == set->timer_due)
        return;
    set->timer_due = due_ns;
    struct kevent timer;
    if (due_ns == LLI_NEVER) {
        EV_SET(&timer, TIMER_ID, EVFILT_TIMER, EV_DELETE, 0, 0, NULL);
    } else {
        uint64_t now = lli_now_ns();
        int64_t left_us = due_ns > now ? (int64_t)((due_ns - now + 999) / 1000) : 1;
#    ifdef NOTE_USECONDS
        EV_SET(&timer, TIMER_ID, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_USECONDS, left_us, NULL);
#    else
        EV_SET(&timer, TIMER_ID, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, (left_us + 999) / 1000,
               NULL);
#    endif
    }
    kevent(set->fd, &timer, 1, NULL, 0, NULL);
}

/* Both events are taken at once, before the deadlines are looked at. A victim of a deadline then wakes the
 * loop once more for nothing, which is harmless; a timer that is taken after the look would be lost. */
void lli_pollset_drain_timer(struct lli_pollset *set)
{
    struct timespec none = {0, 0};
    struct kevent events[4];
    kevent(set->fd, NULL, 0, events, 4, &none);
}

void lli_pollset_drain_wake(struct lli_pollset *set)
{
    (void)set;
}

int lli_pollset_wait(struct lli_pollset *set, int64_t timeout_ns)
{
    uint64_t until = timeout_ns < 0 ? LLI_NEVER : lli_deadline_after((uint64_t)timeout_ns);
    for (;;) {
        struct pollfd poller = {.fd = set->fd, .events = POLLIN, .revents = 0};
        int limit = -1;
        if (until != LLI_NEVER) {
            uint64_t now = lli_now_ns();
            uint64_t left = until > now ? (until - now + LLI_MS - 1) / LLI_MS : 0;
            limit = left > INT32_MAX ? INT32_MAX : (int)left;
        }
        int ready = poll(&poller, 1, limit);
        if (ready > 0 && (poller.revents & POLLNVAL)) {
            errno = EBADF;
            return -1;
        }
        if (ready > 0 || (ready < 0 && errno != EINTR))
            return ready;
        if (ready == 0 && limit >= 0 && limit < INT32_MAX)
            return 0;
    }
}
#else
typedef int lli_pollset_kqueue_unused;
#endif
