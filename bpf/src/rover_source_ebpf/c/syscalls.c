/* The socket calls, seen by the two tracepoints that every system call passes: entered here, then left (data.c,
 * open_close.c).
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
#define MMAP 255 /* no call on a socket, see mappings.c */

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
#define STAGE_TLS 9
#define STAGE_TLS_WRITTEN 10
BPF_TABLE("prog", u32, u32, stages, STAGES);

BPF_TABLE("array", u32, u8, table, SYSCALLS); /* the Syscall by the kernel's number; 0: of no interest */

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
    call->tls = verdict->tls;
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
    if (!wanted || !*wanted)
        return 0;
#if TLS
    if (*wanted == MMAP) {
        mapping(ctx->args[0]);
        return 0;
    }
#endif
    begin(ctx->args[0], number, *wanted, copy, 0);
    return 0;
}

int on_sys_enter(struct bpf_raw_tracepoint_args *ctx)
{
    return enter(ctx, 0);
}
#endif
