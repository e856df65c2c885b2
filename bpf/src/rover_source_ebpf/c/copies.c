/* Further copies of the programs, for kernels that skip some of their runs.
 *
 * From Linux 7.0 on a task may be preempted inside a tracepoint's program, and until it goes on, the kernel skips
 * that program for every other task of the processor (kernel/trace/bpf_trace.c, __bpf_trace_run: the guard
 * against recursion counts per program and processor, not per task). Another program at the same tracepoint is
 * not skipped, unless a second task was preempted in that one, too. So each is attached COPIES times, the later
 * ones after the earlier ones, and each does what no copy before it could do:
 *
 * - A call that begins: was_entered() asks which thread came last through an earlier copy on this processor.
 *   Where a copy was skipped that is the thread which is preempted in it, so never the one that asks. One that
 *   was moved to another processor between two copies is told a second time, which changes nothing.
 * - A call that is left: whichever copy deals with it clears call->sk, and the next ones find nothing to do.
 * - All the others: to do the same once more changes nothing.
 */

#define COPY(number, name, action)                                 \
    int on_##name##__##number(struct bpf_raw_tracepoint_args *ctx) \
    {                                                              \
        return action;                                             \
    }

#if COPIES > 1
/* The stage that the first copy would continue with, or itself for STAGE_BYTES, with another scratch. */
static inline int leave_again(struct bpf_raw_tracepoint_args *ctx, u32 copy)
{
    u32 number = KERNEL(u32, ctx->args[0], OFF_REGS_NUMBER);
    u8 *wanted = table.lookup(&number);
    if (!wanted || !*wanted)
        return 0;
    struct call *call = left(ctx);
    if (!call)
        return 0;
    call->slot = copy * CPUS + bpf_get_smp_processor_id();
    u32 stage = call->stage;
    stages.call(ctx, stage);
    return 0;
}

COPY(1, sys_exit, leave_again(ctx, 1))
COPY(1, sys_enter, enter(ctx, 1))
COPY(1, tcp_destroy_sock, destroyed(ctx->args[0]))
COPY(1, sched_process_exec, executed(ctx))
COPY(1, sched_process_exit, exited(ctx))
COPY(1, tcp_receive_reset, reset(ctx->args[0]))
COPY(1, tcp_send_reset, reset(ctx->args[0]))
COPY(1, task_rename, renamed(ctx))
#if SELECT_CGROUPS
COPY(1, cgroup_attach_task, moved(ctx))
#endif
#if FOLLOW_FORKS
COPY(1, sched_process_fork, forked(ctx))
#endif
#endif
#if COPIES > 2
COPY(2, sys_exit, leave_again(ctx, 2))
COPY(2, sys_enter, enter(ctx, 2))
#endif
#if COPIES > 3
COPY(3, sys_exit, leave_again(ctx, 3))
COPY(3, sys_enter, enter(ctx, 3))
#endif
