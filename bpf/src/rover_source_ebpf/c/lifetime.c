/* What ends without a socket call: sockets, threads and processes; raw tracepoints. */

/* net/ipv4/tcp_ipv4.c: the last thing the kernel does with a TCP socket. */
static inline int destroyed(u64 sk)
{
    struct conn *conn = conns.lookup(&sk);
#if SOCKETS
    origins.delete(&sk);
#endif
    if (!conn)
        return 0;
    u64 closer = conn->closer;
    struct call *call = closer ? calls.lookup(&closer) : 0;
    if (!call || call->sk != sk || call->connection != conn->id || call->syscall != 4) {
        end_without_call(sk, conn);
        return 0;
    }
    /* Within a close call, which will tell of it. What it needs first, the mark second, the
     * connection last: whoever finds the connection gone finds the mark. */
    call->sequence = conn->sequence;
    call->position = conn->position[EGRESS];
    call->announced = conn->announced;
    call->reset = conn->reset;
    call->unseen = unseen(sk, conn, 0);
    call->gone = 1;
    forget(sk, conn->id);
    return 0;
}

int on_tcp_destroy_sock(struct bpf_raw_tracepoint_args *ctx)
{
    return destroyed(ctx->args[0]);
}

static inline int reset(u64 sk)
{
    struct conn *conn = conns.lookup(&sk);
    if (conn)
        conn->reset = 1;
    return 0;
}

int on_tcp_receive_reset(struct bpf_raw_tracepoint_args *ctx)
{
    return reset(ctx->args[0]);
}

int on_tcp_send_reset(struct bpf_raw_tracepoint_args *ctx)
{
    return reset(ctx->args[0]);
}

/* A name and a verdict last until the next program. */
static inline int executed(struct bpf_raw_tracepoint_args *ctx)
{
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    u64 thread = (u64)tgid << 32 | (u32)ctx->args[1]; /* it may have been another one of the process */
    verdicts.delete(&tgid);
    calls.delete(&thread);
#if TLS
    struct caller caller = {.thread = thread};
    tls_calls.delete(&caller);
#if SELECT_PROCESSES
    watched(tgid); /* it is told of at once, not at its first call */
#endif
    tell_mapped(KERNEL(u64, ctx->args[2], OFF_BINPRM_FILE));
#endif
    return 0;
}

int on_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
    return executed(ctx);
}

/* Or until the main thread takes another name (prctl(2), PR_SET_NAME). */
static inline int renamed(struct bpf_raw_tracepoint_args *ctx)
{
    u64 task = ctx->args[0];
    if (KERNEL(u64, task, OFF_TASK_LEADER) != task)
        return 0;
    u32 tgid = KERNEL(u32, task, OFF_TASK_TGID);
    verdicts.delete(&tgid);
    return 0;
}

int on_task_rename(struct bpf_raw_tracepoint_args *ctx)
{
    return renamed(ctx);
}

#if SELECT_CGROUPS
/* Or until it is moved to another cgroup (kernel/cgroup/cgroup.c). */
static inline int moved(struct bpf_raw_tracepoint_args *ctx)
{
    u32 tgid = KERNEL(u32, ctx->args[2], OFF_TASK_TGID);
    verdicts.delete(&tgid);
    return 0;
}

int on_cgroup_attach_task(struct bpf_raw_tracepoint_args *ctx)
{
    return moved(ctx);
}
#endif

static inline int exited(struct bpf_raw_tracepoint_args *ctx)
{
    u64 thread = bpf_get_current_pid_tgid();
    u64 task = ctx->args[0];
    calls.delete(&thread);
#if TLS
    struct caller caller = {.thread = thread};
    tls_calls.delete(&caller);
#endif
    if (KERNEL(u32, KERNEL(u64, task, OFF_TASK_SIGNAL), OFF_SIGNAL_LIVE) != 0)
        return 0; /* other threads live on */
    u32 tgid = thread >> 32;
    verdicts.delete(&tgid);
#if SELECT_PIDS
    u32 pid = pid_of(KERNEL(u64, task, OFF_TASK_LEADER));
    family.delete(&pid);
#endif
    return 0;
}

int on_sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
    return exited(ctx);
}

#if FOLLOW_FORKS
/* A descendant stays one when its parents die before its first call, and a child is mostly watched if its parent
 * is. */
static inline int forked(struct bpf_raw_tracepoint_args *ctx)
{
    u64 parent = KERNEL(u64, ctx->args[0], OFF_TASK_LEADER);
    u64 child = ctx->args[1];
    u32 tgid = KERNEL(u32, parent, OFF_TASK_TGID);
    if (KERNEL(u32, child, OFF_TASK_TGID) == tgid)
        return 0; /* a thread */
#if SELECT_PIDS
    u32 pid = pid_of(parent);
    u8 yes = 1;
    if (family.lookup(&pid)) {
        pid = pid_of(child);
        family.update(&pid, &yes);
    }
#endif
#if TLS
    if (watched(tgid)) /* the current process */
        tell_begun(pid_of(child));
#endif
    return 0;
}

int on_sched_process_fork(struct bpf_raw_tracepoint_args *ctx)
{
    return forked(ctx);
}
#endif
