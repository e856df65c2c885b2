/* What the sockets' own tracepoints tell of (way.c): bytes that moved, and states that changed. */

#if SOCKETS
/* The Syscall that the current thread is in, 0 when it is none on a socket. */
static inline u8 current_syscall(u64 registers, u32 *number)
{
    *number = KERNEL(u32, registers, OFF_REGS_NUMBER);
    u8 *wanted = table.lookup(number);
    return wanted ? *wanted : 0;
}

/* The agent reads as many bytes as the marker says, from a socket that is no TCP socket. */
static inline void look_for_agent_reading(struct bpf_raw_tracepoint_args *ctx)
{
    u32 zero = 0, number;
    struct agent *agent = agents.lookup(&zero);
    if (!agent || agent->tgid)
        return;
    u64 registers = registers_of(ctx);
    if (current_syscall(registers, &number) == READ)
        look_for_agent(KERNEL(u32, registers, ARGUMENTS_OFFSET + 8 * ARGUMENT2));
}

/* A call moved bytes, or found the end of the stream. */
static inline void completed(struct bpf_raw_tracepoint_args *ctx, u64 sk, u8 direction, s64 size, u64 start)
{
    u32 number;
    u64 registers = registers_of(ctx), thread = bpf_get_current_pid_tgid();
    u8 syscall = current_syscall(registers, &number);
    if (syscall < READ || !TYPED(u64, current_task(), OFF_TASK_FILES)) /* io_uring; a thread of the kernel */
        return;
    begin(registers, number, syscall, UNSEEN, sk);
    struct call *call = calls.lookup(&thread);
    if (!call || !call->sk)
        return;
    if (call->sk != sk || call->direction != direction) { /* another socket, which the kernel uses by itself */
        call->sk = 0;
        return;
    }
    if (start)
        call->start = start;
    call->moved = size;
    if (call->shape == SHAPE_MESSAGES) { /* told of one by one, and not which of them it is */
        call->shape = SHAPE_BYTES;
        call->stage = STAGE_BYTES;
        call->unread = 1;
    }
    u32 stage = call->stage;
    stages.call(ctx, stage);
}

int leave_bytes(struct bpf_raw_tracepoint_args *ctx)
{
    struct call *call = left(ctx);
    return call ? leave_data(ctx, call, STAGE_BYTES) : 0;
}

int on_sock_recv_length(struct bpf_raw_tracepoint_args *ctx)
{
    u64 sk = ctx->args[0];
    s64 size = (s32)ctx->args[1];
    if (KERNEL(u16, sk, OFF_SK_PROTOCOL) != IPPROTO_TCP)
        look_for_agent_reading(ctx);
    else if (size >= 0)
        completed(ctx, sk, INGRESS, size, 0);
    return 0;
}

int on_sock_send_length(struct bpf_raw_tracepoint_args *ctx)
{
    u64 sk = ctx->args[0], start = 0;
    s64 size = (s32)ctx->args[1];
    if (KERNEL(u16, sk, OFF_SK_PROTOCOL) != IPPROTO_TCP)
        return 0;
    struct origin *origin = origins.lookup(&sk);
    if (origin) {
        start = origin->sending;
        origin->sending = 0;
    }
    if (size > 0)
        completed(ctx, sk, EGRESS, size, start);
    return 0;
}

/* A write has the socket to itself, and begins; or goes on. */
int on_tcp_sendmsg_locked(struct bpf_raw_tracepoint_args *ctx)
{
    u64 sk = ctx->args[0];
    struct origin *origin = origins.lookup(&sk);
    if (origin && !origin->sending)
        origin->sending = bpf_ktime_get_ns();
    return 0;
}

/* Bytes were taken from the socket, here by splice, which none of the others tells of: how many, the kernel's
 * sequence number knows. */
int on_tcp_rcv_space_adjust(struct bpf_raw_tracepoint_args *ctx)
{
    u32 number;
    u64 sk = ctx->args[0];
    if (current_syscall(registers_of(ctx), &number) != SPLICE)
        return 0;
    struct conn *conn = conns.lookup(&sk);
    u32 copied = KERNEL(u32, sk, OFF_TCP_COPIED_SEQ);
    s32 size = 0;
    if (conn && conn->based) {
        size = copied - conn->base[INGRESS] - (u32)conn->position[INGRESS];
    } else if (!conn && origins.lookup(&sk)) { /* all that was ever taken */
        u32 left = KERNEL(u32, sk, OFF_TCP_RCV_NXT) - copied - (KERNEL(u64, sk, OFF_SK_FLAGS) >> SOCK_DONE & 1);
        size = KERNEL(u32, sk, OFF_TCP_BYTES_RECEIVED) - left;
    }
    if (size > 0)
        completed(ctx, sk, INGRESS, size, 0);
    return 0;
}

/* The current close call ends the connection, of which no FIN has been sent yet if `finless`. */
static inline void closing(u64 registers, u32 number, u64 sk, int finless)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct conn *conn = conns.lookup(&sk);
    struct origin *origin = origins.lookup(&sk);
    if (!conn && (!origin || !origin->opened))
        return;
    struct verdict *verdict = watched(thread >> 32);
    if (!verdict || is_compat())
        return; /* its end shows when the socket is destroyed */
    struct call *call = remember(verdict, thread, 0, sk, DESCRIPTOR(registers), STAGE_CLOSE);
    if (!call)
        return;
    call->sk = 0;
    call->syscall = CLOSE;
    call->direction = EGRESS;
    if (!conn) { /* it never moved a byte */
        conn = connection(sk, ROLE_UNKNOWN, EGRESS, 0);
        if (!conn)
            return;
        announce_process(call, conn->id, call->start);
        announce(sk, conn, call, 0);
    }
    u64 id = conn->id;
    origins.delete(&sk);
    call->sequence = conn->sequence;
    call->position = conn->position[EGRESS];
    call->announced = conn->announced;
    call->reset = conn->reset | ends_by_reset(sk);
    call->unseen = unseen(sk, conn, finless);
    if (forget(sk, id) && call->announced)
        tell_close(call, id, 0);
}

static inline void begin_at(u64 sk, struct origin *origin)
{
    origin->base[INGRESS] = KERNEL(u32, sk, OFF_TCP_COPIED_SEQ);
    origin->base[EGRESS] = KERNEL(u32, sk, OFF_TCP_WRITE_SEQ);
}

int on_inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx)
{
    u64 sk = ctx->args[0];
    u32 before = ctx->args[1], state = ctx->args[2], number;
    if (KERNEL(u16, sk, OFF_SK_PROTOCOL) != IPPROTO_TCP || state == TCP_LISTEN)
        return 0;
    if (state == TCP_SYN_SENT) {
        u64 registers = registers_of(ctx);
        struct origin origin = {.start = bpf_ktime_get_ns(), .role = ROLE_CLIENT};
        origin.fd = DESCRIPTOR(registers);
        origin.told = current_syscall(registers, &number) != CONNECT; /* data with the SYN */
        origins.update(&sk, &origin);
    } else if (state == TCP_ESTABLISHED && before == TCP_SYN_RECV) {
        struct origin origin = {.opened = bpf_ktime_get_ns(), .role = ROLE_SERVER, .told = 1};
        begin_at(sk, &origin);
        origins.update(&sk, &origin);
    } else if (state == TCP_ESTABLISHED) {
        struct origin *origin = origins.lookup(&sk);
        if (origin) {
            origin->opened = bpf_ktime_get_ns();
            begin_at(sk, origin);
        }
    } else if (KERNEL(u32, sk, OFF_SK_OWNED)) { /* by the current thread: else the state changes by a packet */
        u64 registers = registers_of(ctx);
        u8 syscall = current_syscall(registers, &number);
        if (syscall == CLOSE) {
            closing(registers, number, sk, before == TCP_ESTABLISHED || before == TCP_CLOSE_WAIT);
        } else if (syscall == CONNECT && state == TCP_CLOSE) { /* it failed, or ends the connection (AF_UNSPEC) */
            struct conn *conn = conns.lookup(&sk);
            if (conn)
                end_without_call(sk, conn);
            origins.delete(&sk);
        } else if (syscall == SHUTDOWN) {
            u64 thread = bpf_get_current_pid_tgid();
            begin(registers, number, syscall, UNSEEN, 0);
            struct call *call = calls.lookup(&thread);
            if (!call || call->sk != sk)
                return 0; /* asked for before, or by a process that is not watched */
            call->moved = 0;
            u32 stage = call->stage;
            stages.call(ctx, stage);
        }
    }
    return 0;
}
#endif
