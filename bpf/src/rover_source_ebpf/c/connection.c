/* Connections: found or made, told of, and ended. The key is the struct sock, so that dup, fork and
 * descriptor passing keep one connection, and a connection is told of exactly once. */

/* The reader of a connection: each is told of its own ones by its own ring. */
static inline u32 ring_of(u64 connection)
{
    return connection % RINGS;
}

static inline int output(u32 ring, void *record, u64 size)
{
#if RINGS > 7
    if (ring == 7)
        return events_7.ringbuf_output(record, size, 0);
#endif
#if RINGS > 6
    if (ring == 6)
        return events_6.ringbuf_output(record, size, 0);
#endif
#if RINGS > 5
    if (ring == 5)
        return events_5.ringbuf_output(record, size, 0);
#endif
#if RINGS > 4
    if (ring == 4)
        return events_4.ringbuf_output(record, size, 0);
#endif
#if RINGS > 3
    if (ring == 3)
        return events_3.ringbuf_output(record, size, 0);
#endif
#if RINGS > 2
    if (ring == 2)
        return events_2.ringbuf_output(record, size, 0);
#endif
#if RINGS > 1
    if (ring == 1)
        return events_1.ringbuf_output(record, size, 0);
#endif
    return events_0.ringbuf_output(record, size, 0);
}

/* 1: it is in the ring of its connection. */
static inline int offer(u64 connection, void *record, u64 size)
{
    if (output(ring_of(connection), record, size))
        return 0;
    count(COUNT_RECORDS, 1);
    return 1;
}

/* The same for what is not tried again: without room it is lost. */
static inline int send(u64 connection, void *record, u64 size)
{
    int sent = offer(connection, record, size);
    if (!sent)
        count(COUNT_RING_FULL, 1);
    return sent;
}

/* Has the connection's reader been told of the process? */
static inline int is_introduced(struct call *call, u64 connection)
{
    return call->told >> ring_of(connection) & 1;
}

/* The process, before its first record for a reader and again after an exec. Not sent: tried again.
 * Two threads that set their bits at once may lose one; the process is told of twice then. */
static inline void announce_process(struct call *call, u64 connection, u64 now)
{
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    struct verdict *verdict = verdicts.lookup(&tgid);
    struct process_record record = {};
    u64 leader = KERNEL(u64, bpf_get_current_task(), OFF_TASK_LEADER);
    record.header.kind = KIND_PROCESS;
    record.header.end = now;
    record.header.pid = call->pid;
    read_kernel(record.comm, sizeof(record.comm), (void *)(leader + OFF_TASK_COMM));
    u8 reader = 1 << ring_of(connection);
    if (offer(connection, &record, sizeof(record)) && verdict)
        verdict->announced |= reader;
    call->told |= reader;
}

static inline void fill(struct header *header, struct call *call, u64 connection, u64 sequence)
{
    header->connection = connection;
    header->sequence = sequence;
    header->start = call->start;
    header->pid = call->pid;
    header->fd = call->fd;
    header->syscall = call->syscall;
    header->direction = call->direction;
}

/* The connection. `end` is when its connect or accept returned, 0 when it was only found. */
static inline void announce(u64 sk, struct conn *conn, struct call *call, u64 end)
{
    struct opened_record record = {};
    struct tuple tuple;
    record.header.kind = KIND_OPENED;
    record.header.connection = conn->id;
    record.header.pid = call->pid;
    if (end) {
        fill(&record.header, call, conn->id, __sync_fetch_and_add(&conn->sequence, 1));
        record.header.end = end;
        record.header.flags = FLAG_DETAIL;
    }
    if (conn->late)
        record.header.flags |= FLAG_LATE;
#if SOCKETS
    fill_connect(sk, conn, &record.header);
#endif
    record.time = conn->opened;
    record.role = conn->role;
    read_tuple(sk, &tuple);
    __builtin_memcpy(record.local, tuple.local, 16);
    __builtin_memcpy(record.remote, tuple.remote, 16);
    record.local_port = tuple.local_port;
    record.remote_port = tuple.remote_port;
    if (offer(conn->id, &record, sizeof(record))) {
        conn->announced = 1;
        u64 id = conn->id;
        struct upload *known = uploads.lookup(&id);
        if (known) {
            known->pid = call->pid;
            known->opened = conn->opened;
            __builtin_memcpy(known->local, record.local, 16);
            __builtin_memcpy(known->remote, record.remote, 16);
            known->local_port = record.local_port;
            known->remote_port = record.remote_port;
            known->role = conn->role;
        }
    }
    else if (end)
        count(COUNT_RING_FULL, 1); /* the connection is told of later, this call never */
}

static inline u64 random_id(void)
{
    return ((u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32()) | 1; /* never 0 */
}

/* An id that chooses the reader by both port numbers, whichever is the local one: the two ends of a
 * connection within this host have one reader, who may find that they are the same. */
static inline u64 new_id(u32 ports)
{
    u64 id = random_id();
#if RINGS > 1
    u32 sum = (ports >> 16) + (ports & 0xffff);
    u32 hash = sum * 0x9e3779b1u; /* Knuth's: ports that follow each other spread over its upper bits */
    id |= 1ULL << 32;
    id = id - id % RINGS + ((u64)hash * RINGS >> 32);
#endif
    return id;
}

/* Forgets a connection. 1 for the one caller that did it, who has to tell of it. */
static inline int forget(u64 sk, u64 id)
{
    uploads.delete(&id);
    return conns.delete(&sk) == 0;
}

/* Where both directions are by the kernel's own sequence numbers, of which the call that is being left
 * moved `moved` bytes itself. They are looked at when a connection begins and when it ends; what they
 * advanced in between is what the process read and wrote, by whichever call (include/linux/tcp.h:
 * copied_seq, write_seq). */
static inline void set_base(u64 sk, struct conn *conn, u8 direction, u64 moved)
{
#ifdef OFF_TCP_BYTES_ACKED /* with all the others */
    if (KERNEL(u8, sk, OFF_SK_STATE) == TCP_SYN_SENT)
        return; /* the peer's numbers are not known yet: once they are, with the first bytes */
    conn->base[INGRESS] = KERNEL(u32, sk, OFF_TCP_COPIED_SEQ) - (direction == INGRESS ? moved : 0);
    conn->base[EGRESS] = KERNEL(u32, sk, OFF_TCP_WRITE_SEQ) - (direction == EGRESS ? moved : 0);
    conn->based = 1;
#endif
}

#ifdef OFF_TCP_BYTES_ACKED
/* `advanced`, modulo 2^32, is how far a sequence number went ahead of the bytes that were recorded;
 * `total` about how many bytes there were in all. A byte may be the FIN. */
static inline u64 beyond(struct conn *conn, u32 advanced, u64 total, u64 position)
{
    u64 about = conn->late ? 0 : total - position; /* how many there were before is not known */
    s64 bytes = about + (s64)(s32)(advanced - (u32)about);
    return bytes > 0 ? bytes : 0;
}
#endif

/* Bytes that the process moved and no record tells of: by calls that are not watched (io_uring), or of
 * processes that are not. To be asked at the end, before the connection is forgotten; `finless`: 1 before a FIN
 * is sent. 0 where nobody can know: the socket was connected again or disconnected, or it encrypts by itself (kTLS), which changes the
 * number of bytes. */
static inline u64 unseen(u64 sk, struct conn *conn, int finless)
{
#ifdef OFF_TCP_BYTES_ACKED
    u32 copied = KERNEL(u32, sk, OFF_TCP_COPIED_SEQ), written = KERNEL(u32, sk, OFF_TCP_WRITE_SEQ);
    u32 read = copied - conn->base[INGRESS] - (u32)conn->position[INGRESS];
    u32 wrote = written + finless - conn->base[EGRESS] - (u32)conn->position[EGRESS];
    if (read <= 1 && wrote <= 1)
        return 0; /* as ever */
    if (!conn->based || ports_of(sk) != conn->ports || KERNEL(u64, sk, OFF_ICSK_ULP_OPS))
        return 0;
    u64 sum = 0;
    if (read && KERNEL(u64, sk, OFF_SK_FLAGS) >> SOCK_DONE & 1 && copied == KERNEL(u32, sk, OFF_TCP_RCV_NXT))
        read--;
    if (read)
        sum += beyond(conn, read, KERNEL(u64, sk, OFF_TCP_BYTES_RECEIVED), conn->position[INGRESS]);
    if (wrote > 1)
        sum += beyond(conn, wrote - 1, KERNEL(u64, sk, OFF_TCP_BYTES_ACKED), conn->position[EGRESS]);
    return sum;
#else
    return 0;
#endif
}

/* Bytes that the process has read of a connection since that was made; 0 where the kernel does not say. */
static inline u64 read_so_far(u64 sk)
{
#ifdef OFF_TCP_BYTES_ACKED /* with all the others */
    u32 unread = KERNEL(u32, sk, OFF_TCP_RCV_NXT) - KERNEL(u32, sk, OFF_TCP_COPIED_SEQ);
    if (unread && KERNEL(u64, sk, OFF_SK_FLAGS) >> SOCK_DONE & 1)
        unread--; /* the peer's FIN */
    return KERNEL(u64, sk, OFF_TCP_BYTES_RECEIVED) - unread;
#else
    return 0;
#endif
}

/* Will the kernel end the connection with a reset when it releases the socket, which is yet to come? It does
 * where bytes were never read, and where the process asked for it by SO_LINGER with no time to linger
 * (net/ipv4/tcp.c, tcp_close and tcp_need_reset). */
static inline int ends_by_reset(u64 sk)
{
#if defined(OFF_TCP_BYTES_ACKED) && defined(OFF_SK_LINGERTIME)
    u32 state = KERNEL(u8, sk, OFF_SK_STATE);
    u64 flags = KERNEL(u64, sk, OFF_SK_FLAGS);
    u32 unread = KERNEL(u32, sk, OFF_TCP_RCV_NXT) - KERNEL(u32, sk, OFF_TCP_COPIED_SEQ);
    if (state == TCP_CLOSE)
        return 0;
    if (unread > (flags >> SOCK_DONE & 1)) /* the peer's FIN counts as a byte */
        return 1;
    if (!(flags >> SOCK_LINGER & 1) || KERNEL(u64, sk, OFF_SK_LINGERTIME))
        return 0;
    return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT || state == TCP_FIN_WAIT1 ||
           state == TCP_FIN_WAIT2 || state == TCP_SYN_RECV;
#else
    return 0;
#endif
}

/* The end, known from something else than a close call. */
static inline void end_without_call(u64 sk, struct conn *conn)
{
    struct closed_record record = {};
    record.header.kind = KIND_CLOSED;
    record.header.connection = conn->id;
    record.header.end = bpf_ktime_get_ns();
    record.header.flags = conn->reset ? FLAG_RESET : 0;
    record.unseen = unseen(sk, conn, 0);
    int announced = conn->announced; /* else nobody has heard of it */
    if (forget(sk, record.header.connection) && announced)
        send(record.header.connection, &record, sizeof(record));
}

/* A new connection; NULL when there is no room or it is not selected. `moved`: see set_base(). */
static inline struct conn *track(u64 sk, u8 role, u8 direction, u64 moved)
{
    struct upload automatic = {.limit = UPLOAD_AUTO};
    struct conn fresh = {};
    if (!is_connection(sk) || !is_selected(sk))
        return 0;
    fresh.ports = ports_of(sk);
    fresh.id = new_id(fresh.ports);
    fresh.opened = bpf_ktime_get_ns();
    fresh.role = role;
    fresh.late = role == ROLE_UNKNOWN;
    fresh.room = opening_room(sk);
#if SOCKETS
    take_origin(sk, &fresh);
#if TLS
    tell_connecting();
#endif
#endif
    if (!fresh.based)
        set_base(sk, &fresh, direction, moved);
    if (fresh.late)
        fresh.before = read_so_far(sk) - (direction == INGRESS ? moved : 0);
    if (uploads.update(&fresh.id, &automatic)) {
        count(COUNT_UNTRACKED, 1);
        return 0;
    }
    if (conns.insert(&sk, &fresh)) {
        uploads.delete(&fresh.id);
        struct conn *other = conns.lookup(&sk); /* another thread was faster, or there is no room */
        if (!other)
            count(COUNT_UNTRACKED, 1);
        return other;
    }
    return conns.lookup(&sk);
}

/* The connection that a socket has now: known, or new with this role. One that is known by other ports
 * has ended: the socket was connected again (connect(2), AF_UNSPEC). */
static inline struct conn *connection(u64 sk, u8 role, u8 direction, u64 moved)
{
    struct conn *conn = conns.lookup(&sk);
    if (conn && conn->ports == ports_of(sk))
        return conn;
    if (conn)
        end_without_call(sk, conn);
    return track(sk, role, direction, moved);
}
