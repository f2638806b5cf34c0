/* pollset_epoll.c: Linux: an epoll set over an eventfd (wake-up) and a timerfd.
 *
 * An epoll descriptor can itself be polled, so the host's loop watches one descriptor and a wake-up
 * costs one write. The timer is absolute and only set when the earliest deadline changes. Both
 * descriptors are read when drained; level-triggered epoll then turns unreadable by itself. */
#include "platform/pollset.h"

#ifdef __linux__
#    include "base/fault.h"
#    include "base/status.h"
#    include "platform/clock.h"

#    include <errno.h>
#    include <poll.h>
#    include <string.h>
#    include <sys/epoll.h>
#    include <sys/eventfd.h>
#    include <sys/timerfd.h>
#    include <unistd.h>

static int checked(int fd)
{
    if (fd >= 0 && LLI_FAULT(LLI_FAULT_FD)) {
        close(fd);
        errno = EMFILE;
        return -1;
    }
    return fd;
}

static bool watch(struct lli_pollset *set, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    return epoll_ctl(set->fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

ll_status lli_pollset_init(struct lli_pollset *set)
{
    set->fd = set->wake_fd = set->timer_fd = -1;
    set->timer_due = LLI_NEVER;
    const char *what = "epoll_create1";
    set->fd = checked(epoll_create1(EPOLL_CLOEXEC));
    if (set->fd < 0)
        goto fail;
    what = "eventfd";
    set->wake_fd = checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (set->wake_fd < 0)
        goto fail;
    what = "timerfd_create";
    set->timer_fd = checked(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
    if (set->timer_fd < 0)
        goto fail;
    what = "epoll_ctl";
    if (!watch(set, set->wake_fd) || !watch(set, set->timer_fd))
        goto fail;
    return LL_OK;
fail:;
    int error = errno;
    lli_pollset_done(set);
    return lli_refuse(LL_ESYS, "ll_engine_new: %s failed: %s", what, strerror(error));
}

void lli_pollset_done(struct lli_pollset *set)
{
    if (set->timer_fd >= 0)
        close(set->timer_fd);
    if (set->wake_fd >= 0)
        close(set->wake_fd);
    if (set->fd >= 0)
        close(set->fd);
    set->fd = set->wake_fd = set->timer_fd = -1;
}

void lli_pollset_wake(struct lli_pollset *set)
{
    uint64_t one = 1;
    ssize_t written;
    do
        written = write(set->wake_fd, &one, sizeof one);
    while (written < 0 && errno == EINTR);
    /* EAGAIN: the counter is full, hence readable already. */
}

void lli_pollset_set_timer(struct lli_pollset *set, uint64_t due_ns)
{
    if (due_ns == set->timer_due)
        return;
    set->timer_due = due_ns;
    struct itimerspec spec = {{0, 0}, {0, 0}};
    if (due_ns != LLI_NEVER) {
        uint64_t at = due_ns > 0 ? due_ns : 1; /* zero would turn it off */
        spec.it_value.tv_sec = (time_t)(at / LLI_SECOND);
        spec.it_value.tv_nsec = (long)(at % LLI_SECOND);
    }
    timerfd_settime(set->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void drain(int fd)
{
    uint64_t count;
    ssize_t got = read(fd, &count, sizeof count);
    (void)got; /* EAGAIN: it was the other one */
}

void lli_pollset_drain_timer(struct lli_pollset *set)
{
    drain(set->timer_fd);
}

void lli_pollset_drain_wake(struct lli_pollset *set)
{
    drain(set->wake_fd);
}

int lli_pollset_wait(struct lli_pollset *set, int64_t timeout_ns)
{
    uint64_t until = timeout_ns < 0 ? LLI_NEVER : lli_deadline_after((uint64_t)timeout_ns);
    for (;;) {
        struct pollfd poller = {.fd = set->fd, .events = POLLIN, .revents = 0};
        struct timespec span, *limit = NULL;
        if (until != LLI_NEVER) {
            uint64_t now = lli_now_ns();
            uint64_t left = until > now ? until - now : 0;
            span.tv_sec = (time_t)(left / LLI_SECOND);
            span.tv_nsec = (long)(left % LLI_SECOND);
            limit = &span;
        }
        int ready = ppoll(&poller, 1, limit, NULL);
        if (ready > 0 && (poller.revents & POLLNVAL)) {
            errno = EBADF;
            return -1;
        }
        if (ready >= 0)
            return ready;
        if (errno != EINTR)
            return -1;
    }
}
#else
typedef int lli_pollset_epoll_unused;
#endif
