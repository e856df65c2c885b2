/* Socket calls that are left and open or end a connection. */

/* ---- shutdown ------------------------------------------------------------------------------- */

int leave_shutdown(struct bpf_raw_tracepoint_args *ctx)
{
    struct call *call = left(ctx);
    if (!call)
        return 0;
    u64 sk = call->sk;
    if (result_of(ctx, call)) {
        call->sk = 0;
        return 0;
    }
    struct conn *conn = conns.lookup(&sk);
    if (!call->introduced && (!conn || !conn->announced || !is_introduced(call, conn->id))) {
        stages.call(ctx, STAGE_INTRODUCE);
        return 0;
    }
    call->sk = 0;
    if (!conn)
        return 0;
    struct header record = {};
    fill(&record, call, conn->id, __sync_fetch_and_add(&conn->sequence, 1));
    record.kind = KIND_DATA;
    record.end = bpf_ktime_get_ns();
    record.position = conn->position[EGRESS];
    if (conn->announced)
        send(conn->id, &record, sizeof(record));
    else
        count(COUNT_RING_FULL, 1);
    return 0;
}

#if !SOCKETS
/* ---- connect, accept ------------------------------------------------------------------------ */

int leave_opening(struct bpf_raw_tracepoint_args *ctx)
{
    struct call *call = left(ctx);
    if (!call)
        return 0;
    s64 result = ctx->args[1];
    if (call->syscall == CONNECT) {
        call->role = ROLE_CLIENT;
        if (result != 0 && result != -EINPROGRESS)
            call->sk = 0;
    } else {
        call->role = ROLE_SERVER;
        call->sk = result < 0 ? 0 : sock_of(file_of(result));
    }
    if (call->sk)
        stages.call(ctx, STAGE_INTRODUCE);
    return 0;
}

#endif

/* ---- close ---------------------------------------------------------------------------------- */

/* The end of a connection by a close call. */
static inline void tell_close(struct call *call, u64 id, u8 error)
{
    struct closed_record record = {.unseen = call->unseen};
    struct header *header = &record.header;
    fill(header, call, id, call->sequence);
    header->kind = KIND_CLOSED;
    header->flags = FLAG_DETAIL | (call->reset ? FLAG_RESET : 0);
    header->end = bpf_ktime_get_ns();
    header->position = call->position;
    header->error = error;
    if (!is_introduced(call, id))
        announce_process(call, id, header->end);
    send(id, &record, sizeof(record));
}

#if !SOCKETS
/* Has the kernel let go of the socket, now that the close call returns? */
static inline int is_released(u64 sk, u64 file)
{
#ifdef OFF_FILE_COUNT /* up to Linux 6.12 a close may leave the release to the way out of the kernel */
    if (KERNEL(u64, file, OFF_FILE_COUNT) == 0)
        return 1;
#endif
    return KERNEL(u64, sk, OFF_SK_SOCKET) == 0;
}

int leave_close(struct bpf_raw_tracepoint_args *ctx)
{
    struct call *call = left(ctx);
    if (!call)
        return 0;
    u64 sk = call->sk, id = call->connection;
    s64 result = ctx->args[1];
    struct conn *conn = conns.lookup(&sk);
    if (conn && conn->id == id) {
        if (!is_released(sk, call->file)) {
            if (conn->closer == bpf_get_current_pid_tgid())
                conn->closer = 0;
            call->sk = 0;
            return 0; /* another descriptor still holds it */
        }
        call->sequence = conn->sequence;
        call->position = conn->position[EGRESS];
        call->announced = conn->announced;
        call->reset = conn->reset;
#ifdef OFF_FILE_COUNT
        if (KERNEL(u64, sk, OFF_SK_SOCKET)) /* no descriptor holds it any more, but it is not released yet */
            call->reset |= ends_by_reset(sk);
#endif
        call->unseen = unseen(sk, conn, 0);
        int forgotten = forget(sk, id);
        /* Not before: another processor may destroy the socket meanwhile, and leaves it to this call to tell. */
        call->sk = 0;
        if (!forgotten && !call->gone)
            return 0;
    } else {
        call->sk = 0;
        if (!call->gone)
            return 0;
    }
    if (!call->announced)
        return 0; /* nobody has heard of it */
    tell_close(call, id, result < 0 ? -result : 0);
    return 0;
}
#endif
