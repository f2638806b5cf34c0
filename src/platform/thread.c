/* thread.c: POSIX threads.
 *
 * Workers run with all signals blocked and, on Linux, at nice +5: with as many busy threads as cores
 * the kernel then prefers the event loop. Their stacks are as large as a main thread's usual one, whatever
 * the C library's default: an adopted connection is opened by its owner's code, in whatever language. A failing mutex operation is a defect of ours and asserts. */
#include "platform/thread.h"

#include "base/fault.h"
#include "base/status.h"
#include "platform/clock.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#    include <sched.h>
#    include <sys/resource.h>
#    include <sys/syscall.h>
#endif

enum {
    WORKER_NICE = 5,
    WORKER_STACK = 8 * 1024 * 1024
};

void lli_mutex_init(lli_mutex *mutex)
{
    int rc = pthread_mutex_init(mutex, NULL);
    assert(rc == 0);
    (void)rc;
}

void lli_mutex_done(lli_mutex *mutex)
{
    pthread_mutex_destroy(mutex);
}

void lli_lock(lli_mutex *mutex)
{
    int rc = pthread_mutex_lock(mutex);
    assert(rc == 0);
    (void)rc;
}

void lli_unlock(lli_mutex *mutex)
{
    int rc = pthread_mutex_unlock(mutex);
    assert(rc == 0);
    (void)rc;
}

void lli_cond_init(lli_cond *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
#ifndef __APPLE__
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
#endif
    int rc = pthread_cond_init(cond, &attr);
    assert(rc == 0);
    (void)rc;
    pthread_condattr_destroy(&attr);
}

void lli_cond_done(lli_cond *cond)
{
    pthread_cond_destroy(cond);
}

void lli_cond_wait(lli_cond *cond, lli_mutex *mutex)
{
    pthread_cond_wait(cond, mutex);
}

bool lli_cond_wait_until(lli_cond *cond, lli_mutex *mutex, uint64_t deadline_ns)
{
    if (deadline_ns == LLI_NEVER) {
        pthread_cond_wait(cond, mutex);
        return true;
    }
#ifdef __APPLE__
    uint64_t now = lli_now_ns();
    uint64_t span = deadline_ns > now ? deadline_ns - now : 0;
    struct timespec rel = {(time_t)(span / LLI_SECOND), (long)(span % LLI_SECOND)};
    return pthread_cond_timedwait_relative_np(cond, mutex, &rel) == 0;
#else
    struct timespec at = {(time_t)(deadline_ns / LLI_SECOND), (long)(deadline_ns % LLI_SECOND)};
    return pthread_cond_timedwait(cond, mutex, &at) != ETIMEDOUT;
#endif
}

void lli_cond_signal(lli_cond *cond)
{
    pthread_cond_signal(cond);
}

void lli_cond_broadcast(lli_cond *cond)
{
    pthread_cond_broadcast(cond);
}

ll_status lli_thread_start(lli_thread *ret_thread, void *(*run)(void *), void *arg)
{
    if (LLI_FAULT(LLI_FAULT_THREAD))
        return lli_refuse(LL_ESYS, "cannot start a worker thread: %s", strerror(EAGAIN));
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORKER_STACK);
    int rc = pthread_create(ret_thread, &attr, run, arg);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return lli_refuse(LL_ESYS, "cannot start a worker thread: %s", strerror(rc));
    return LL_OK;
}

void lli_thread_join(lli_thread thread)
{
    pthread_join(thread, NULL);
}

void lli_thread_detach_self(void)
{
    pthread_detach(pthread_self());
}

void lli_thread_be_worker(void)
{
#ifdef __linux__
    pthread_setname_np(pthread_self(), "looplite");
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), WORKER_NICE);
#elif defined(__APPLE__)
    pthread_setname_np("looplite");
#endif
}

unsigned lli_cores(void)
{
#ifdef __linux__
    cpu_set_t mine; /* a container, or taskset, may give less than there are */
    if (sched_getaffinity(0, sizeof mine, &mine) == 0 && CPU_COUNT(&mine) > 0)
        return (unsigned)CPU_COUNT(&mine);
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (unsigned)count : 1;
}

void lli_spin_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}
