/* Socket calls that are left and moved bytes, or found the end of the stream; and what has to be told before. */

/* The call that the current thread leaves, NULL when it was not remembered. The descriptor is compared, too: a
 * call whose end was missed is not taken for a later one on something else, which is not remembered. */
static inline struct call *leaving(u64 registers, u32 number)
{
    u64 thread = bpf_get_current_pid_tgid();
    struct call *call = calls.lookup(&thread);
    if (!call || !call->sk || call->number != number)
        return 0;
    if (call->fd != DESCRIPTOR(registers) && call->syscall != SPLICE && call->stage != STAGE_UNSEEN)
        return 0;
    return call;
}

static inline struct call *left(struct bpf_raw_tracepoint_args *ctx)
{
    u64 registers = registers_of(ctx);
    return leaving(registers, KERNEL(u32, registers, OFF_REGS_NUMBER));
}

/* Did a read that returned 0 ask for something? Then it is the end of the stream. */
static inline int asked(struct call *call)
{
    u64 vector = call->pointer;
    if (call->shape == SHAPE_MESSAGE)
        vector = USER(u64, vector + MSGHDR_VECTOR);
    else if (call->shape != SHAPE_VECTOR)
        return call->count != 0;
    return USER(u64, vector + IOVEC_LENGTH) != 0;
}

/* One completed call that moved bytes or found the end of the stream. */
static inline int leave_data(struct bpf_raw_tracepoint_args *ctx, struct call *call, u32 stage)
{
    u64 sk = call->sk;
    s64 result = result_of(ctx, call);
    if (result < 0 || (result == 0 && (call->direction != INGRESS || !asked(call)))) {
        call->sk = 0;
        return 0;
    }
    struct conn *conn = conns.lookup(&sk);
    if (!call->introduced && (!conn || !conn->announced || !is_introduced(call, conn->id))) {
        stages.call(ctx, STAGE_INTRODUCE);
        return 0;
    }
#if TLS
    if (call->tls) {
        stages.call(ctx, STAGE_TLS);
        return 0;
    }
#endif
    struct scratch *scratch = own_scratch(call);
    if (!conn || !scratch) {
        call->sk = 0;
        return 0;
    }
    u64 now = bpf_ktime_get_ns();
    u64 size = call->shape == SHAPE_MESSAGES ? call->moved : result;
    if (!conn->based)
        set_base(sk, conn, call->direction, size);
    scratch->walk.unfinished = 0;
    scratch->walk.header = 0;
    u64 captured = 0;
    if (!conn->tls)
        captured = capture(scratch->data, &scratch->walk, call, stage != STAGE_BYTES, conn,
                           conn->position[call->direction & 1], size, result);
#if TLS
    if (!conn->protocol && !conn->position[call->direction & 1])
        look_for_hello(call, sk, conn, size);
#endif
    if (stage != STAGE_BYTES && scratch->walk.unfinished && call->resumed < RESUMES) {
        call->resumed++;
        call->introduced = 1;
        stages.call(ctx, STAGE_VECTOR);
    }
    if (scratch->walk.header)
        stages.call(ctx, STAGE_PROXIED);
    call->sk = 0;
    struct header *header = &scratch->header;
    header->kind = KIND_DATA;
    header->flags = 0;
    header->captured = captured;
    fill(header, call, conn->id, __sync_fetch_and_add(&conn->sequence, 1));
    header->end = now;
    header->position = __sync_fetch_and_add(&conn->position[call->direction & 1], size);
    header->size = size;
    header->error = 0;
    if (!conn->announced) {
        count(COUNT_RING_FULL, 1); /* nobody has heard of the connection, so nobody could place it */
        return 0;
    }
    asm volatile("" : "+r"(captured));
    if (captured > PAYLOAD_LIMIT)
        captured = PAYLOAD_LIMIT;
    if (send(conn->id, scratch, sizeof(struct header) + captured)) {
        count(COUNT_UPLOADED, captured);
        __sync_fetch_and_add(&conn->uploaded, captured);
    }
    return 0;
}

#if !SOCKETS
int on_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
    u32 number = KERNEL(u32, ctx->args[0], OFF_REGS_NUMBER);
    u8 *wanted = table.lookup(&number);
    if (!wanted || !*wanted || *wanted == MMAP)
        return 0;
    struct call *call = leaving(ctx->args[0], number);
    if (!call)
        return 0;
    u32 stage = call->stage;
    if (stage != STAGE_BYTES) {
        stages.call(ctx, stage);
        return 0;
    }
    return leave_data(ctx, call, STAGE_BYTES);
}
#endif

int leave_vector(struct bpf_raw_tracepoint_args *ctx)
{
    struct call *call = left(ctx);
    return call ? leave_data(ctx, call, STAGE_VECTOR) : 0;
}

/* A call that begins with a PROXY protocol header: what follows that decides which protocol is spoken. A
 * program of its own, so that the others, which do the same for ordinary calls, stay small enough for the
 * verifier. It leaves the call as it was to the program it came from. */
int leave_proxied(struct bpf_raw_tracepoint_args *ctx)
{
    struct call *call = left(ctx);
    if (!call)
        return 0;
    struct scratch *scratch = own_scratch(call);
    if (!scratch)
        return 0;
    u64 sk = call->sk;
    struct conn *conn = conns.lookup(&sk);
    if (!conn) {
        call->sk = 0;
        return 0;
    }
    u32 captured = scratch->walk.header;
    conn->fronted = 1;
    u64 header = proxy_header(scratch->data, captured);
    if (header && header < PROXY_HEADERS && header < captured) {
        asm volatile("" : "+r"(header)); /* the mask is for the verifier: keep it */
        header &= PROXY_HEADERS - 1;
        conn->protocol = recognise(scratch->data + header, captured - header) & RECOGNISED_PROTOCOL;
    }
    u32 stage = call->stage;
    stages.call(ctx, stage);
    return 0;
}

#if !SOCKETS
/* Over several messages: how much was moved has to be summed up first. */
int leave_messages(struct bpf_raw_tracepoint_args *ctx)
{
    struct call *call = left(ctx);
    if (!call)
        return 0;
    struct scratch *scratch = own_scratch(call);
    if (!scratch)
        return 0;
    s64 messages = ctx->args[1];
    call->moved = messages > 0 ? size_of_messages(scratch, call, messages) : 0;
    call->stage = STAGE_VECTOR;
    stages.call(ctx, STAGE_VECTOR);
    return 0;
}
#endif

/* What has to be told before a call's own record: its process, its connection, which connect and
 * accept have no more to say than. Out of the way of the usual case. */
int introduce(struct bpf_raw_tracepoint_args *ctx)
{
    struct call *call = left(ctx);
    if (!call)
        return 0;
    u64 sk = call->sk, now = bpf_ktime_get_ns();
    s64 result = result_of(ctx, call);
    u8 role = call->role;
    u64 moved = role || result < 0 ? 0 : call->shape == SHAPE_MESSAGES ? call->moved : result;
    struct conn *conn = connection(sk, role, call->direction, moved);
    call->refused = conn ? 0 : sk;
    if (!conn || (role && conn->sequence)) {
        call->sk = 0;
        return 0; /* not to be tracked, or the second connect of a non-blocking one */
    }
    if (!is_introduced(call, conn->id))
        announce_process(call, conn->id, now);
    if (!conn->announced)
        announce(sk, conn, call, role ? now : 0);
    if (role) {
        call->sk = 0;
        return 0;
    }
    call->introduced = 1;
    u32 stage = call->stage;
    stages.call(ctx, stage);
    return 0;
}

#if !SOCKETS
/* A call that was under way when the agent started: it has not been seen to begin, so that is made
 * up for now. Its arguments are in the registers still. */
int leave_unseen(struct bpf_raw_tracepoint_args *ctx)
{
    struct call *call = left(ctx);
    if (!call)
        return 0;
    u64 start = call->start, thread = bpf_get_current_pid_tgid();
    u32 number = call->number, slot = call->slot;
    call->sk = 0;
    u8 *syscall = table.lookup(&number);
    if (!syscall)
        return 0;
    begin(ctx->args[0], number, *syscall, UNSEEN, 0);
    call = calls.lookup(&thread);
    if (!call || !call->sk)
        return 0;
    call->start = start;
    call->slot = slot;
    u32 stage = call->stage;
    stages.call(ctx, stage);
    return 0;
}
#endif
