/* Calls of TLS libraries, begun and ended, and the plaintext that they moved; see tls_objects.c. */

#if TLS
/* Encrypted bytes that the library has read or written, by its own count. */
static inline u64 encrypted(struct tls_probe *probe, u64 object, u8 direction)
{
    u64 bio = USER(u64, object + (direction == INGRESS ? probe->rbio : probe->wbio));
    return USER(u64, bio + (direction == INGRESS ? probe->num_read : probe->num_written));
}

/* Ciphertext is handed on within a library's call: it is looked for in what the process writes. */
static inline void expect(u64 thread, struct tls_call *inside, struct tls_probe *probe, u64 bio, u64 bytes)
{
    struct tls_prefix prefix = {.tgid = thread >> 32};
    struct tls_written written = {.object = inside->object};
    struct tls_key key = {thread >> 32, inside->object};
    struct tls_object *object = tls_objects.lookup(&key);
    if (object && conn_of(object))
        return;
    if (read_user(prefix.bytes, TLS_PREFIX, (void *)bytes))
        return;
    if (probe->counts) {
        written.counted = 1;
        written.before = USER(u64, bio + probe->num_written);
    }
    tls_prefixes.update(&prefix, &written);
}

/* Linux 6.13 and later give programs like these a stack for each processor, if they need more than 64 bytes of it
 * (kernel/bpf/verifier.c, bpf_enable_priv_stack). Nothing keeps a program of uprobes from being preempted by itself there,
 * which then writes over its stack: the kernel has crashed of it. Programs with a tail call have the thread's own stack.
 * So there is one, into a table that stays empty; programs that are attached in different ways may not share it. */
BPF_TABLE("prog", u32, u32, nowhere, 1);
BPF_TABLE("prog", u32, u32, nowhere_of_sessions, 1);

/* A function begins. 1: its end is of interest. */
static inline int begun(struct pt_regs *ctx, int session)
{
    u64 thread = bpf_get_current_pid_tgid();
    u32 tgid = thread >> 32, number = attach_cookie(ctx);
    struct verdict *verdict = watched(tgid);
    if (!verdict) {
#if SELECT_PROCESSES
        u32 zero = 0;
        u64 *calls_of_others = tls_others.lookup(&zero);
        if (calls_of_others)
            (*calls_of_others)++;
#endif
        return 0;
    }
    struct tls_probe *probe = tls_probes.lookup(&number);
    if (!probe) {
        if (session)
            nowhere_of_sessions.call(ctx, 0);
        else
            nowhere.call(ctx, 0);
        return 0;
    }
    if (!probe->function || is_compat()) /* 0: other probes of the file are still to come */
        return 0;
    u64 arguments[8] = {};
    struct caller caller = {.thread = thread};
    if (probe->goroutines) {
        arguments[0] = REGISTER(ctx, GO0);
        arguments[1] = REGISTER(ctx, GO1);
        arguments[2] = REGISTER(ctx, GO2);
        arguments[3] = REGISTER(ctx, GO3);
        caller.thread = tgid;
        caller.goroutine = REGISTER(ctx, GOROUTINE);
    } else {
        arguments[0] = REGISTER(ctx, C0);
        arguments[1] = REGISTER(ctx, C1);
        arguments[2] = REGISTER(ctx, C2);
        arguments[3] = REGISTER(ctx, C3);
        arguments[4] = REGISTER(ctx, C4);
        arguments[5] = REGISTER(ctx, C5);
    }
    u64 object = arguments[probe->object & 7], bytes = arguments[probe->buffer & 7];
    u64 size = arguments[probe->size & 7];
    struct tls_call *inside = probe->goroutines ? tls_goroutines.lookup(&caller) : tls_calls.lookup(&caller);
    if (probe->function == TLS_CIPHERTEXT) {
        if (inside && inside->object && size >= TLS_PREFIX && !inside->nested) {
            verdict->tls |= TLS_MEMORY;
            expect(thread, inside, probe, object, bytes);
        }
        return 0;
    }
    struct tls_key key = {tgid, object};
    if (probe->function == TLS_FREE) {
        tls_objects.delete(&key);
        return 0;
    }
    verdict->tls |= probe->goroutines ? TLS_GOROUTINES : TLS_THREADS;
    u64 stack = REGISTER(ctx, STACK);
    if (inside && inside->object) {
        int same = inside->object == object;
        if (probe->goroutines ? !same || inside->function != probe->function : stack < inside->stack) {
            inside->depth += probe->goroutines;
            inside->around |= !same;
            return 0;
        } /* else it never returned */
    }
    struct tls_call call = {
        .object = object,
        .stack = stack,
        .buffer = bytes,
        .size = size,
        .start = bpf_ktime_get_ns(),
        .function = probe->function,
        .pid = verdict->pid,
        .whole = probe->goroutines && probe->function == TLS_WRITE,
    };
    if (probe->moved)
        call.moved = arguments[(probe->moved - 1) & 7];
    if (probe->typed && USER(u32, object + probe->kind))
        call.function = TLS_OTHER;
    if (inside)
        *inside = call;
    else if (probe->goroutines)
        tls_goroutines.update(&caller, &call);
    else if (tls_calls.update(&caller, &call))
        count(COUNT_UNSEEN, 1);
    return 1;
}

int tls_enter(struct pt_regs *ctx)
{
    begun(ctx, 0);
    return 0;
}

/* A scratch that no other program uses: those of uprobes may be preempted, and others run meanwhile. */
static inline struct tls_scratch *take_scratch(void)
{
    u32 slot = bpf_get_smp_processor_id();
    for (int i = 0; i < TLS_SLOTS_TRIED; i++) {
        struct tls_scratch *scratch = tls_scratches.lookup(&slot);
        if (scratch && !__sync_lock_test_and_set(&scratch->taken, 1))
            return scratch;
        slot = slot + 1 < CPUS ? slot + 1 : 0;
    }
    return 0;
}

static inline void fill_plaintext(struct header *header, struct tls_call *call, u8 direction, u64 size)
{
    header->kind = KIND_PLAINTEXT;
    header->flags = 0;
    header->start = call->start;
    header->end = bpf_ktime_get_ns();
    header->size = size;
    header->pid = call->pid;
    header->fd = -1;
    header->syscall = 0;
    header->direction = direction;
    header->error = 0;
}

/* The ClientHello of this random that a process has moved. Where it has both ends of a connection, which of them an
 * object is of cannot be told by that. */
static inline struct tls_hello *hello_of(struct tls_random *random, u32 tgid)
{
    random->tgid = tgid;
    random->direction = INGRESS;
    struct tls_hello *received = tls_hellos.lookup(random);
    random->direction = EGRESS;
    struct tls_hello *sent = tls_hellos.lookup(random);
    if (sent && received && sent->connection != received->connection)
        return 0;
    return sent ? sent : received;
}

/* Has the object's ClientHello been seen in a socket call, of this process or, before it was forked, of its parent? */
static inline void place_by_hello(struct tls_probe *probe, struct tls_key *key)
{
    u64 at = key->object + probe->random;
    struct tls_random random = {};
    struct tls_offsets known = {.sure = {1, 1}};
    if (!probe->random)
        return;
    if (probe->through)
        at = USER(u64, key->object + probe->through) + probe->random;
    if (read_user(random.bytes, RANDOM, (void *)at))
        return;
    struct tls_hello *hello = hello_of(&random, key->tgid);
    if (!hello) {
        u64 leader = KERNEL(u64, bpf_get_current_task(), OFF_TASK_LEADER);
        hello = hello_of(&random, KERNEL(u32, KERNEL(u64, leader, OFF_TASK_PARENT), OFF_TASK_TGID));
    }
    if (!hello)
        return;
    u64 sk = hello->sk;
    struct conn *conn = conns.lookup(&sk);
    if (!conn || conn->id != hello->connection)
        return;
    known.offset[INGRESS] = hello->before[INGRESS];
    known.offset[EGRESS] = hello->before[EGRESS];
    place(key, sk, conn, &known);
}

/* Plaintext whose connection is not known yet: it goes to every reader, and what tells where it belongs, too. */
static inline void send_waiting(struct tls_scratch *scratch, struct tls_key *key, u64 counted, int counts)
{
#if !SELECT_PORTS /* with a selection of ports it might be of a connection that is not selected */
    struct header *header = &scratch->record.header;
    struct tls_object *object = tls_objects.lookup(key);
    u8 direction = header->direction & 1;
    if (!object || !object->serial) {
        struct tls_object fresh = {.serial = random_id()};
        tls_objects.update(key, &fresh);
        object = tls_objects.lookup(key);
    }
    if (!object || object->waiting[INGRESS] + object->waiting[EGRESS] + header->size > TLS_WAITING) {
        count(COUNT_TLS_UNPLACED, 1);
        return;
    }
    u64 captured = header->size;
    asm volatile("" : "+r"(captured));
    if (captured > PAYLOAD_LIMIT)
        captured = PAYLOAD_LIMIT;
    if (read_user(scratch->data, captured, (void *)scratch->walk.message))
        captured = 0;
    header->flags = FLAG_WAITING;
    header->captured = captured;
    header->connection = object->serial;
    header->sequence = object->records++;
    header->position = object->waiting[direction];
    object->waiting[direction] += header->size;
    scratch->record.ciphertext = counts ? counted : NO_POSITION;
    asm volatile("" : "+r"(captured));
    if (captured > PAYLOAD_LIMIT)
        captured = PAYLOAD_LIMIT;
    int told = 0;
    for (u32 ring = 0; ring < RINGS; ring++)
        told |= !output(ring, scratch, sizeof(struct plaintext_record) + captured);
    count(told ? COUNT_RECORDS : COUNT_RING_FULL, 1);
#endif
}

/* Plaintext of a connection. */
static inline void send_plaintext(struct tls_scratch *scratch, struct conn *conn, u64 buffer, u64 ciphertext)
{
    struct header *header = &scratch->record.header;
    struct call moved = {.pointer = buffer, .direction = header->direction};
    u8 direction = header->direction & 1;
    u64 size = header->size;
    become_tls(conn);
    scratch->walk.unfinished = 0;
    scratch->walk.header = 0;
    u64 captured = capture(scratch->data, &scratch->walk, &moved, 0, conn, conn->plain[direction], size, 0);
    header->captured = captured;
    header->connection = conn->id;
    header->sequence = __sync_fetch_and_add(&conn->plain_sequence, 1);
    header->position = __sync_fetch_and_add(&conn->plain[direction], size);
    scratch->record.ciphertext = ciphertext;
    if (!conn->announced) {
        count(COUNT_RING_FULL, 1);
        return;
    }
    asm volatile("" : "+r"(captured));
    if (captured > PAYLOAD_LIMIT)
        captured = PAYLOAD_LIMIT;
    if (send(conn->id, scratch, sizeof(struct plaintext_record) + captured)) {
        count(COUNT_UPLOADED, captured);
        __sync_fetch_and_add(&conn->uploaded, captured);
    }
}

/* What a call that has made socket calls shows of the difference between its library's count and the socket's.
 * `moved`: it moved plaintext, so that from now on the difference matters. */
static inline void measure(struct tls_object *object, struct conn *conn, u8 direction, struct tls_probe *probe,
                           u64 library, int moved)
{
    if (object->sure[direction] == OFFSET_SURE)
        return;
    u64 offset = conn->position[direction] - encrypted(probe, library, direction);
    if (object->sure[direction] == OFFSET_LIKELY && offset == object->offset[direction]) {
        object->sure[direction] = OFFSET_SURE;
        return;
    }
    object->offset[direction] = offset;
    object->sure[direction] = moved ? OFFSET_SURE : OFFSET_LIKELY;
}

static inline int ended(struct pt_regs *ctx, int session)
{
    u64 thread = bpf_get_current_pid_tgid();
    u32 tgid = thread >> 32, number = attach_cookie(ctx);
    struct tls_probe *probe = tls_probes.lookup(&number);
    if (!probe) {
        if (session)
            nowhere_of_sessions.call(ctx, 0);
        else
            nowhere.call(ctx, 0);
        return 0;
    }
    struct caller caller = {.thread = thread};
    if (probe->goroutines) {
        caller.thread = tgid;
        caller.goroutine = REGISTER(ctx, GOROUTINE);
    }
    struct tls_call *call = probe->goroutines ? tls_goroutines.lookup(&caller) : tls_calls.lookup(&caller);
    if (!call || !call->object)
        return 0;
    if (probe->goroutines ? call->depth : REGISTER(ctx, STACK) != call->stack + RETURN_POPS) {
        if (call->depth)
            call->depth--;
        return 0;
    }
    struct tls_call done = *call;
    s64 moved = 0;
    call->object = 0;
    if (probe->goroutines)
        tls_goroutines.delete(&caller);
    u8 direction = done.function == TLS_READ ? INGRESS : EGRESS;
    if (done.function == TLS_READ || done.function == TLS_WRITE) {
        u64 result = REGISTER(ctx, RESULT);
        moved = probe->goroutines ? (s64)result : (s64)(s32)result;
        if (probe->moved)
            moved = moved == 1 ? USER(u64, done.moved) : 0;
        if (moved < 0 || (u64)moved > done.size || moved > 0x7fffffff)
            moved = 0;
    }
    if (!moved && !done.nested && !done.around)
        return 0; /* as of a read that found nothing: of its object nothing is learned */
    struct tls_key key = {tgid, done.object};
    struct tls_object *object = tls_objects.lookup(&key);
    struct conn *conn = object ? conn_of(object) : 0;
    u64 counted = 0;
    if (object && conn) {
        object->around |= done.around;
        if (probe->counts && !object->around) {
            if (done.nested & 1 << INGRESS)
                measure(object, conn, INGRESS, probe, done.object, moved && direction == INGRESS);
            if (done.nested & 1 << EGRESS)
                measure(object, conn, EGRESS, probe, done.object, moved && direction == EGRESS);
        }
    }
    if (object && done.whole && done.writes == 1 && done.nested == 1 << EGRESS && (u64)moved == done.size)
        object->overhead = done.written - moved;
    if (!moved || done.told)
        return 0;
    if (object && object->connection && !conn) {
        count(COUNT_TLS_UNPLACED, 1); /* its connection has ended */
        return 0;
    }
    if (!conn) {
        place_by_hello(probe, &key);
        object = tls_objects.lookup(&key);
        conn = object ? conn_of(object) : 0;
        if (!conn)
            tell_of_calls(TLS_UNPLACED);
    }
    struct tls_scratch *scratch = take_scratch();
    if (!scratch) {
        count(COUNT_UNSEEN, 1);
        return 0;
    }
    fill_plaintext(&scratch->record.header, &done, direction, moved);
    if (probe->counts)
        counted = encrypted(probe, done.object, direction);
    if (!object || !conn) {
        scratch->walk.message = done.buffer;
        send_waiting(scratch, &key, counted, probe->counts);
    } else {
        u64 ciphertext = conn->position[direction];
        if (probe->counts && !object->around) {
            ciphertext = object->sure[direction] ? counted + object->offset[direction] : NO_POSITION;
            s64 ahead = counted + object->offset[direction] - conn->position[direction];
            if (direction == INGRESS && object->sure[INGRESS] && ahead > 0) {
                /* It has read more than there was: some bytes twice. gRPC takes back what the handshake left in
                 * the BIO, and hands it in anew. */
                object->offset[INGRESS] -= ahead;
                ciphertext -= ahead;
            }
        }
        send_plaintext(scratch, conn, done.buffer, ciphertext);
    }
    __sync_lock_test_and_set(&scratch->taken, 0);
    return 0;
}

int tls_return(struct pt_regs *ctx)
{
    return ended(ctx, 0);
}

/* A write is complete with the socket call that ends now. It is told of here: when the peer has answered, another
 * thread may close the connection, or end the process, before the write returns. */
int leave_tls_written(struct bpf_raw_tracepoint_args *ctx)
{
    struct call *call = left(ctx);
    if (!call)
        return 0;
    u64 sk = call->sk, goroutine = KERNEL(u64, registers_of(ctx), OFF_REGISTER_GOROUTINE);
    struct conn *conn = conns.lookup(&sk);
    struct tls_call *inside = library_call(bpf_get_current_pid_tgid(), goroutine, TLS_GOROUTINES);
    if (conn && inside) {
        struct tls_scratch *scratch = take_scratch();
        if (scratch) {
            inside->told = 1;
            fill_plaintext(&scratch->record.header, inside, EGRESS, inside->size);
            send_plaintext(scratch, conn, inside->buffer, conn->position[EGRESS] + result_of(ctx, call));
            __sync_lock_test_and_set(&scratch->taken, 0);
        }
    }
    u32 stage = call->stage;
    stages.call(ctx, stage);
    return 0;
}

#if TLS_SESSIONS && defined(SESSION_IS_RETURN)
#define session_is_return ((bool (*)(void *))SESSION_IS_RETURN)

/* Both, since Linux 6.13. Where the end is of no interest, the return address stays what it is: a process that is not
 * watched takes one trap instead of two. */
int tls_session(struct pt_regs *ctx)
{
    if (session_is_return(ctx))
        return ended(ctx, 1);
    return !begun(ctx, 1);
}
#endif
#endif
