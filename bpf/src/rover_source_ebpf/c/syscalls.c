/* The socket calls, seen by the two tracepoints that every system call passes: entered, then left.
 *
 * These two, and not each call's own pair: a call of interest costs less, any other costs more
 * (README.md has the figures), and the agent starts and stops within moments, where taking away
 * one of the other kind lasts 70 ms each. */

#define CONNECT 1 /* rover.records.Syscall */
#define ACCEPT 2
#define ACCEPT4 3
#define CLOSE 4
#define SHUTDOWN 5
#define READ 8
#define READV 9
#define RECVFROM 10
#define RECVMSG 11
#define RECVMMSG 12
#define PREADV2 13
#define WRITE 16
#define WRITEV 17
#define SENDTO 18
#define SENDMSG 19
#define SENDMMSG 20
#define SENDFILE64 21
#define SPLICE 22
#define PWRITEV2 23

#define REFUSED_FLAGS (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE) /* looks, urgent bytes, error queue: no data */

/* Which of the programs below a call continues with when it is left. */
#define STAGE_BYTES 0
#define STAGE_VECTOR 1
#define STAGE_MESSAGES 2
#define STAGE_INTRODUCE 3
#define STAGE_OPENING 4
#define STAGE_CLOSE 5
#define STAGE_SHUTDOWN 6
#define STAGE_UNSEEN 7
#define STAGE_PROXIED 8
BPF_TABLE("prog", u32, u32, stages, STAGES);

BPF_TABLE("array", u32, u8, table, SYSCALLS); /* the Syscall by the kernel's number; 0: of no interest */

/* ---- entered -------------------------------------------------------------------------------- */

/* The arguments, by number, of the call whose registers are `registers`: of struct pt_regs a part, read at
 * once where a single load is dear. */
#ifdef RDONLY_CAST
#define READ_ARGUMENTS
#define ARGUMENT(number) KERNEL(u64, registers, ARGUMENTS_OFFSET + 8 * ARGUMENT##number)
#else
struct arguments {
    u64 word[ARGUMENT_WORDS];
};
#define READ_ARGUMENTS          \
    struct arguments arguments; \
    read_kernel(&arguments, sizeof(arguments), (void *)(registers + ARGUMENTS_OFFSET))
#define ARGUMENT(number) (arguments.word[ARGUMENT##number])
#endif
#define DESCRIPTOR(registers) KERNEL(u32, registers, DESCRIPTOR_OFFSET) /* the first argument */

/* Remembers a call of a watched process on a socket. NULL: of no interest. */
static inline struct call *remember(struct verdict *verdict, u64 thread, u64 file, u64 sk, u32 fd, u8 stage)
{
    struct call *call = calls.lookup(&thread);
    /* A refused socket may be gone, and another be in its place in memory: that one has a connection. */
    if (stage < STAGE_INTRODUCE &&
        ((call && call->refused == sk && !conns.lookup(&sk)) || !has_selected_port(sk))) {
        if (call)
            call->sk = 0;
        return 0;
    }
    if (!call) {
        struct call fresh = {};
        if (calls.update(&thread, &fresh)) {
            count(COUNT_UNSEEN, 1);
            return 0;
        }
        call = calls.lookup(&thread);
        if (!call)
            return 0;
    }
    call->sk = sk;
    call->start = bpf_ktime_get_ns();
    call->file = file;
    call->pid = verdict->pid;
    call->fd = fd;
    call->told = verdict->announced;
    call->introduced = 0;
    call->resumed = 0;
    call->role = ROLE_UNKNOWN;
    call->gone = 0;
    call->unread = 0;
    call->slot = 0;
    return call;
}

static inline void forget_call(u64 thread)
{
    struct call *call = calls.lookup(&thread);
    if (call)
        call->sk = 0;
}

/* Has an earlier copy of the program seen this call begin? */
static inline int was_entered(u64 thread, u32 copy)
{
#if COPIES > 1
    u32 cpu = bpf_get_smp_processor_id();
    u64 *last = entering.lookup(&cpu);
    if (!last)
        return 0;
    if (copy && *last == thread) {
        if (copy == COPIES - 1)
            *last = 0; /* for the next call it is to be told once more */
        return 1;
    }
    if (copy < COPIES - 1)
        *last = thread;
#endif
    return 0;
}

/* A close of what is no descriptor: is it the marker call, which tells who the agent is? */
static inline void look_for_agent(u32 fd)
{
    u32 zero = 0;
    struct agent *agent = agents.lookup(&zero);
    if (!agent || agent->tgid || fd != agent->marker)
        return;
    agent->level = KERNEL(u32, KERNEL(u64, bpf_get_current_task(), OFF_TASK_PID), OFF_PID_LEVEL);
    agent->tgid = bpf_get_current_pid_tgid() >> 32;
}

#define UNSEEN -1 /* instead of a copy's number: no copy has seen the call begin */

/* A call begins: what it is, by its number and arguments. Most are on no socket, so that is asked first. `moved`:
 * the socket that moved bytes by it, where that is known, also when its descriptor was closed meanwhile. */
static inline void begin(u64 registers, u32 number, u8 syscall, int copy, u64 moved)
{
    u32 fd = DESCRIPTOR(registers);
    u64 file = file_of(fd);
    u64 sk = moved && !file ? moved : tcp_sock_of(file);
    if (!sk && syscall != SPLICE) {
        if (syscall == CLOSE && !file)
            look_for_agent(fd);
        return;
    }
    READ_ARGUMENTS;
    u8 direction = syscall < WRITE && syscall >= READ ? INGRESS : EGRESS;
    if (syscall == SPLICE) {
        direction = sk ? INGRESS : EGRESS;
        if (direction == EGRESS) {
            fd = ARGUMENT(2);
            file = file_of(fd);
            sk = tcp_sock_of(file);
            if (!sk)
                return;
        }
    }
    u64 thread = bpf_get_current_pid_tgid();
    if (copy != UNSEEN && was_entered(thread, copy))
        return;
    struct verdict *verdict = watched(thread >> 32);
    if (!verdict || is_compat()) /* a 32-bit process numbers and lays out its calls in another way */
        return;

    u64 pointer = ARGUMENT(1), size = ARGUMENT(2);
    u32 flags = 0;
    u8 shape = SHAPE_BYTES, stage = STAGE_BYTES, unread = 0;
    if (syscall == READV || syscall == WRITEV || syscall == PREADV2 || syscall == PWRITEV2) {
        shape = SHAPE_VECTOR;
        stage = STAGE_VECTOR;
    } else if (syscall == RECVFROM || syscall == SENDTO) {
        flags = ARGUMENT(3);
    } else if (syscall == RECVMSG || syscall == SENDMSG) {
        flags = size;
        shape = SHAPE_MESSAGE;
        stage = STAGE_VECTOR;
    } else if (syscall == RECVMMSG || syscall == SENDMMSG) {
        flags = ARGUMENT(3);
        shape = SHAPE_MESSAGES;
        stage = STAGE_MESSAGES;
    } else if (syscall == SENDFILE64) {
        size = ARGUMENT(3);
        unread = 1;
    } else if (syscall == SPLICE) {
        size = ARGUMENT(4);
        unread = 1;
    } else if (syscall == CONNECT || syscall == ACCEPT || syscall == ACCEPT4) {
        stage = STAGE_OPENING;
    } else if (syscall == CLOSE) {
        stage = STAGE_CLOSE;
    } else if (syscall == SHUTDOWN) {
        stage = STAGE_SHUTDOWN;
        if (pointer != SHUT_WR && pointer != SHUT_RDWR)
            flags = REFUSED_FLAGS;
    }
    if (flags & REFUSED_FLAGS) {
        forget_call(thread);
        return;
    }
    struct call *call = remember(verdict, thread, file, sk, fd, stage);
    if (!call)
        return;
    call->number = number;
    call->syscall = syscall;
    call->direction = direction;
    call->shape = shape;
    call->stage = stage;
    call->pointer = pointer;
    call->count = size;
    if (direction == INGRESS && (flags & MSG_TRUNC))
        unread = 1; /* tcp(7): the bytes are thrown away */
    call->unread = unread;
    if (syscall == CLOSE) {
        struct conn *conn = conns.lookup(&sk);
        if (!conn) {
            call->sk = 0;
            return;
        }
        call->connection = conn->id;
        conn->closer = thread;
    }
}

#if !SOCKETS
static inline int enter(struct bpf_raw_tracepoint_args *ctx, u32 copy)
{
    u32 number = ctx->args[1];
    u8 *wanted = table.lookup(&number);
    if (wanted && *wanted)
        begin(ctx->args[0], number, *wanted, copy, 0);
    return 0;
}

int on_sys_enter(struct bpf_raw_tracepoint_args *ctx)
{
    return enter(ctx, 0);
}
#endif

/* ---- left: bytes ---------------------------------------------------------------------------- */

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
    u64 captured = capture(scratch, call, stage != STAGE_BYTES, conn, size, result);
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
    if (!wanted || !*wanted)
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

/* ---- left: shutdown ------------------------------------------------------------------------- */

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
/* ---- left: connect, accept ------------------------------------------------------------------ */

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

/* ---- left: close ---------------------------------------------------------------------------- */

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
