/* Plaintext, read where programs hand it to a TLS library or take it from there: uprobes.
 *
 * A probe sits on a file, so it is hit in every process that runs that code. Whether the process is watched is the
 * first thing that is asked. What the probed function is, and where its arguments are, tls_probes tells; which of
 * its entries a probe belongs to is the probe's cookie. The library's call and its socket calls find each other here:
 *
 * - A socket call within a library's call, in the same thread or goroutine, is on the connection of that call's object.
 * - Programs that encrypt into memory send it later. There the random of the object's ClientHello is the one that a
 *   socket call of the process has moved; or, where that was not seen, the first bytes of a record, handed to a BIO
 *   within the library's call, are found again at the start of a write to a socket.
 *
 * Nothing is guessed. Plaintext of an object that has no connection yet is sent to wait for one (FLAG_WAITING).
 *
 * Encrypted bytes are counted by OpenSSL (BIO), by the socket's position otherwise. The two differ by what the socket
 * moved before the BIO was there, less what it moved before the agent: `offset`.
 */

#if TLS
#define TLS_READ 1 /* rover.contracts.tls_library.TlsFunction */
#define TLS_WRITE 2
#define TLS_OTHER 3
#define TLS_FREE 4
#define TLS_CIPHERTEXT 5

#define TLS_THREADS 1 /* struct verdict, tls: the process has called a library whose calls nest in a thread, */
#define TLS_GOROUTINES 2 /* in a goroutine, */
#define TLS_MEMORY 4     /* or one that encrypts into memory; */
#define TLS_NESTED 8     /* a connection was found by a socket call within a library's call, */
#define TLS_UNPLACED 16  /* or plaintext had none */

#define TLS_PREFIX 21 /* a record's header and 16 bytes that are encrypted (RFC 8446 section 5.2) */
#define TLS_WAITING 65536 /* bytes of an object's plaintext that may wait for its connection */
#define TLS_SLOTS_TRIED 4

/* How sure an offset is. */
#define OFFSET_UNKNOWN 0
#define OFFSET_LIKELY 1 /* a connection begins with its handshake, unless it shows otherwise */
#define OFFSET_SURE 2

struct tls_probe {
    u8 function;
    u8 object; /* numbers of arguments, from 0 */
    u8 buffer;
    u8 size;
    u8 moved;  /* of the argument that points to the number of bytes moved, plus 1; 0: it is the result */
    u8 goroutines;
    u8 counts; /* the library counts encrypted bytes, where the following offsets say */
    u8 typed;  /* the object may be none of TLS: then what lies at `kind` is not 0 */
    u16 rbio;
    u16 wbio;
    u16 num_read;
    u16 num_written;
    u16 kind;
    u16 random;  /* of the ClientHello's random; 0: not known */
    u16 through; /* not 0: in what lies where the pointer here leads to */
    u8 unused[2];
};
_Static_assert(sizeof(struct tls_probe) == TLS_PROBE_SIZE, "struct tls_probe is not what tls.py takes it for");

/* Who calls: a thread (pid_tgid), or a goroutine of a process (tgid). */
struct caller {
    u64 thread;
    u64 goroutine;
};

/* The library's call that a caller is in; the outermost, where they nest (TLS within TLS). */
struct tls_call {
    u64 object; /* 0: none */
    u64 stack;  /* the stack pointer when it began */
    u64 buffer;
    u64 size;
    u64 moved;
    u64 start;
    u8 function;
    u8 depth;   /* of calls within it, of a goroutine */
    u8 around;  /* another object was called within it: its bytes are that one's plaintext */
    u8 nested;  /* directions that socket calls within it moved bytes in, a bit each */
    u32 pid;
    u32 writes; /* of its socket calls that wrote, */
    u32 written; /* and the bytes that they wrote */
    u8 whole;   /* a write returns when all is written, record by record, each by a socket call of its own */
    u8 told;    /* its plaintext was sent already */
    u8 unused[6];
};

/* What stands for a connection in the library: an SSL, a session, a Conn. */
struct tls_key {
    u64 tgid;
    u64 object;
};
struct tls_object {
    u64 sk;
    u64 connection; /* 0: none yet */
    u64 serial;     /* of one that has none: what waits for it is known by this */
    u64 records;    /* that wait, and the bytes of each direction that they moved */
    u64 waiting[2];
    u64 offset[2];  /* of a position in the socket's stream from the number of encrypted bytes */
    u8 sure[2];
    u8 around;
    u8 unused;
    u32 overhead; /* bytes that a record has beside its plaintext, 0 while that is not known */
};

struct tls_prefix {
    u64 tgid;
    u8 bytes[TLS_PREFIX + 3];
};
struct tls_written {
    u64 object;
    u64 before; /* encrypted bytes that the BIO was handed before */
    u8 counted;
    u8 unused[7];
};

/* Of a position in the socket's stream from a number of encrypted bytes, as far as it is known. */
struct tls_offsets {
    u64 offset[2];
    u8 sure[2];
};

struct tls_scratch {
    struct plaintext_record record;
    u8 data[PAYLOAD_LIMIT];
    struct walk walk;
    u64 taken;
};

BPF_TABLE("array", u32, struct tls_probe, tls_probes, TLS_PROBES);
BPF_TABLE("hash", struct caller, struct tls_call, tls_calls, MAX_THREADS);
BPF_TABLE("lru_hash", struct caller, struct tls_call, tls_goroutines, MAX_THREADS);
BPF_TABLE("lru_hash", struct tls_key, struct tls_object, tls_objects, MAX_CONNECTIONS);
BPF_TABLE("lru_hash", struct tls_prefix, struct tls_written, tls_prefixes, 4096);
BPF_TABLE("array", u32, struct tls_scratch, tls_scratches, CPUS);
BPF_TABLE("percpu_array", u32, u64, tls_others, 1); /* times that a process which is not watched hit a probe */

#define REGISTER(ctx, name) (*(u64 *)((void *)(ctx) + OFF_REGISTER_##name))
#define attach_cookie ((u64 (*)(void *))BPF_FUNC_get_attach_cookie)

/* ---- the connection of an object ------------------------------------------------------------ */

/* The tracked connection of an object, NULL when there is none (any more). */
static inline struct conn *conn_of(struct tls_object *object)
{
    u64 sk = object->sk;
    struct conn *conn = object->connection ? conns.lookup(&sk) : 0;
    return conn && conn->id == object->connection ? conn : 0;
}

/* From here on the agent asks for plaintext: what it asked for before was of ciphertext. */
static inline void become_tls(struct conn *conn)
{
    u64 id = conn->id;
    if (conn->tls)
        return;
    conn->tls = 1;
    conn->plain_since = bpf_ktime_get_ns();
    conn->protocol = 0;
    conn->fronted = 0;
    conn->opening[INGRESS] = conn->opening[EGRESS] = 0;
    struct upload *chosen = uploads.lookup(&id);
    if (chosen) {
        chosen->limit = UPLOAD_AUTO;
        chosen->unneeded[INGRESS] = chosen->unneeded[EGRESS] = 0;
    }
}

/* Tells where what waited belongs. */
static inline void tell_placed(struct tls_object *object, struct conn *conn)
{
    struct placed_record record = {};
    if (!object->records)
        return;
    become_tls(conn);
    record.header.kind = KIND_PLACED;
    record.header.connection = conn->id;
    record.header.end = bpf_ktime_get_ns();
    record.header.sequence = __sync_fetch_and_add(&conn->plain_sequence, object->records);
    record.serial = object->serial;
    record.position[INGRESS] = __sync_fetch_and_add(&conn->plain[INGRESS], object->waiting[INGRESS]);
    record.position[EGRESS] = __sync_fetch_and_add(&conn->plain[EGRESS], object->waiting[EGRESS]);
    record.offset[INGRESS] = object->offset[INGRESS];
    record.offset[EGRESS] = object->offset[EGRESS];
    record.known = (object->sure[INGRESS] != OFFSET_UNKNOWN) | (object->sure[EGRESS] != OFFSET_UNKNOWN) << 1;
    object->records = 0;
    object->waiting[INGRESS] = object->waiting[EGRESS] = 0;
    int told = 0;
    for (u32 ring = 0; ring < RINGS; ring++) /* it waits at each of them */
        told |= !output(ring, &record, sizeof(record));
    count(told ? COUNT_RECORDS : COUNT_RING_FULL, 1);
}

/* The object speaks on this connection: what nests in its calls says so, or its ciphertext does. It keeps the
 * one it has while that lasts: a program may make other calls within a callback of the library. */
static inline void place(struct tls_key *key, u64 sk, struct conn *conn, struct tls_offsets *known)
{
    struct tls_object *object = tls_objects.lookup(key);
    if (object && (object->connection == conn->id || conn_of(object)))
        return;
    if (!object) {
        struct tls_object fresh = {};
        tls_objects.update(key, &fresh);
        object = tls_objects.lookup(key);
        if (!object)
            return;
    }
    object->sk = sk;
    object->connection = conn->id;
    object->around = 0;
    object->offset[INGRESS] = -conn->before;
    object->sure[INGRESS] = OFFSET_LIKELY;
    object->offset[EGRESS] = 0;
    object->sure[EGRESS] = conn->late ? OFFSET_UNKNOWN : OFFSET_LIKELY;
    if (known) {
        if (known->sure[EGRESS]) {
            object->offset[EGRESS] = known->offset[EGRESS];
            object->sure[EGRESS] = OFFSET_SURE;
            if (!conn->late && object->offset[EGRESS]) /* something else came before TLS, how much is not known */
                object->sure[INGRESS] = OFFSET_UNKNOWN;
        }
        if (known->sure[INGRESS]) {
            object->offset[INGRESS] = known->offset[INGRESS];
            object->sure[INGRESS] = OFFSET_SURE;
        }
    }
    tell_placed(object, conn);
}

/* ---- socket calls of programs that do TLS ---------------------------------------------------- */

/* The library's call that the current thread, or its goroutine, is in. */
static inline struct tls_call *library_call(u64 thread, u64 goroutine, u8 kinds)
{
    struct caller caller = {.thread = thread};
    struct tls_call *inside = 0;
    if (kinds & TLS_THREADS)
        inside = tls_calls.lookup(&caller);
    if ((!inside || !inside->object) && kinds & TLS_GOROUTINES) {
        caller.thread = thread >> 32;
        caller.goroutine = goroutine;
        inside = tls_goroutines.lookup(&caller);
    }
    return inside && inside->object ? inside : 0;
}

/* Has a call's last byte been handed to the socket, with the socket call that ends now? */
static inline int is_written(struct tls_key *key, struct tls_call *inside, struct conn *conn)
{
    struct tls_object *object = tls_objects.lookup(key);
    if (!object || object->connection != conn->id || inside->told)
        return 0;
    u32 beside = inside->written - inside->size;
    if (object->overhead)
        return beside == inside->writes * object->overhead;
    /* The first one: of TLS 1.3 (RFC 8446 section 5.2), and of 1.2 with AES-GCM (RFC 5288) and ChaCha20 (RFC 7905). */
    return inside->writes == 1 && (beside == 22 || beside == 29 || beside == 21);
}

/* The agent is told, once, how the connections of the current process are found. */
static inline void tell_of_calls(u8 what)
{
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    struct verdict *verdict = verdicts.lookup(&tgid);
    if (!verdict || verdict->tls & what)
        return;
    struct tls_mapped told = {.device = what, .pid = verdict->pid};
    if (!tls_mapped.ringbuf_output(&told, sizeof(told), 0))
        verdict->tls |= what;
}

/* Is what a socket call writes the start of a record that was handed to a BIO? */
static inline void look_for_prefix(struct call *call, u64 sk, struct conn *conn)
{
    struct tls_prefix prefix = {.tgid = bpf_get_current_pid_tgid() >> 32};
    read_user(prefix.bytes, TLS_PREFIX, (void *)first_bytes(call));
    struct tls_written *written = tls_prefixes.lookup(&prefix);
    if (!written)
        return;
    struct tls_key key = {prefix.tgid, written->object};
    struct tls_offsets known = {};
    if (written->counted) {
        known.offset[EGRESS] = conn->position[EGRESS] - written->before;
        known.sure[EGRESS] = 1;
    }
    place(&key, sk, conn, &known);
    tls_prefixes.delete(&prefix);
}

/* A socket call moved bytes, of a process that has called a TLS library: which object is its connection's? */
int leave_tls(struct bpf_raw_tracepoint_args *ctx)
{
    struct call *call = left(ctx);
    if (!call)
        return 0;
    u64 sk = call->sk, thread = bpf_get_current_pid_tgid();
    u8 kinds = call->tls;
    call->tls = 0;
    struct conn *conn = conns.lookup(&sk);
    if (conn) {
        struct tls_call *inside = library_call(thread, KERNEL(u64, registers_of(ctx), OFF_REGISTER_GOROUTINE), kinds);
        if (inside) {
            struct tls_key key = {thread >> 32, inside->object};
            inside->nested |= 1 << (call->direction & 1);
            place(&key, sk, conn, 0);
            if (!(kinds & TLS_NESTED))
                tell_of_calls(TLS_NESTED);
            if (inside->whole && call->direction == EGRESS) {
                inside->writes++;
                inside->written += result_of(ctx, call);
                if (is_written(&key, inside, conn))
                    stages.call(ctx, STAGE_TLS_WRITTEN);
            }
        } else if (call->direction == EGRESS && !call->unread) {
            if (kinds & TLS_MEMORY)
                look_for_prefix(call, sk, conn);
            if (!conn->tls && conn->position[EGRESS] && (!(kinds & TLS_NESTED) || kinds & TLS_MEMORY))
                look_for_hello(call, sk, conn, result_of(ctx, call)); /* as after a CONNECT */
        }
    }
    u32 stage = call->stage;
    stages.call(ctx, stage);
    return 0;
}
#endif
