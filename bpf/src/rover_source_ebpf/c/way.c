/* Which of two ways the socket calls are seen in. Ordinarily it is the two tracepoints that all system calls pass
 * (syscalls.c). Where SOCKETS is 1 it is the sockets' own (sockets.c), so that no other system call of the host takes
 * longer. A call is known there once it has moved bytes. What it is, the registers tell that its thread entered the
 * kernel with. README.md ("Bystanders") tells what is not known there. */

#if SOCKETS
/* How a connection came to be, and what is under way on it. */
struct origin {
    u64 start;   /* when connect began */
    u64 opened;  /* when it was established, 0 before */
    u64 sending; /* when the write under way began, 0 without one */
    u32 base[2]; /* the kernel's sequence numbers then, of both directions */
    s32 fd;      /* connect's */
    u8 role;
    u8 told;     /* of connect */
    u8 unused[2];
};
BPF_TABLE("lru_hash", u64, struct origin, origins, MAX_CONNECTIONS); /* key: struct sock */

static inline u64 registers_of(struct bpf_raw_tracepoint_args *ctx)
{
    return (u64)task_registers(current_task());
}

static inline s64 result_of(struct bpf_raw_tracepoint_args *ctx, struct call *call)
{
    return call->moved;
}

/* A connection that was not known: what is known of its beginning. */
static inline void take_origin(u64 sk, struct conn *conn)
{
    struct origin *origin = origins.lookup(&sk);
    if (!origin) {
        struct origin late = {};
        origins.update(&sk, &late);
    } else if (origin->role && origin->opened) {
        conn->role = origin->role;
        conn->late = 0;
        conn->opened = origin->opened;
        conn->base[INGRESS] = origin->base[INGRESS];
        conn->base[EGRESS] = origin->base[EGRESS];
        conn->based = 1;
    }
}

/* The connect call that a connection began with, if it has not been told of. */
static inline void fill_connect(u64 sk, struct conn *conn, struct header *header)
{
    struct origin *origin = origins.lookup(&sk);
    if (!origin || origin->told || conn->late || conn->role != ROLE_CLIENT)
        return;
    origin->told = 1;
    header->flags |= FLAG_DETAIL;
    header->sequence = __sync_fetch_and_add(&conn->sequence, 1);
    header->start = origin->start;
    header->end = origin->opened;
    header->fd = origin->fd;
    header->syscall = 1; /* CONNECT */
    header->direction = EGRESS;
}
#else
static inline u64 registers_of(struct bpf_raw_tracepoint_args *ctx)
{
    return ctx->args[0];
}

static inline s64 result_of(struct bpf_raw_tracepoint_args *ctx, struct call *call)
{
    return ctx->args[1];
}
#endif
