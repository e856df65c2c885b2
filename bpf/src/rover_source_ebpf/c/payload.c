/* Copying what a call moved out of the process's memory. */

#define MSGHDR_VECTOR 16 /* struct user_msghdr, include/linux/socket.h, 64 bit */
#define MSGHDR_COUNT 24
#define MMSGHDR_LENGTH 56 /* struct mmsghdr: the header, then the bytes moved */
#define MMSGHDR_SIZE 64
#define IOVEC_LENGTH 8
#define IOVEC_SIZE 16

#define USER(type, at)                                                      \
    ({                                                                      \
        type value_ = 0;                                                    \
        read_user(&value_, sizeof(value_), (void *)(at));         \
        value_;                                                             \
    })

/* An agent that wants nothing of a connection may say so of its ciphertext, and does not know yet that plaintext
 * has come: for so long that is not taken to be said of the plaintext. */
#define PLAIN_GRACE 1000000000ULL

struct iovec {
    u64 base;
    u64 length;
};

/* Bytes that a call over several messages moved; each tells its own. */
static inline u64 size_of_messages(struct scratch *scratch, struct call *call, u64 messages)
{
    struct walk *walk = &scratch->walk;
    walk->size = 0;
    walk->messages = messages;
    walk->message = call->pointer + MMSGHDR_LENGTH;
    for (int i = 0; i < MESSAGES; i++) {
        if (!walk->messages)
            break;
        walk->messages--;
        walk->size += USER(u32, walk->message);
        walk->message += MMSGHDR_SIZE;
    }
    return walk->size;
}

/* Copies the first walk->want bytes, segment by segment; returns how many it could. `messages` is
 * how many messages the call moved, for SHAPE_MESSAGES. */
static inline u32 copy_vector(u8 *data, struct walk *walk, struct call *call, u64 messages)
{
    if (!call->resumed) {
        walk->taken = 0;
        walk->left = walk->want;
        walk->vector = walk->message = call->pointer;
        walk->segments = call->shape == SHAPE_VECTOR ? call->count : 0;
        walk->messages = call->shape == SHAPE_VECTOR ? 0 : call->shape == SHAPE_MESSAGE ? 1 : messages;
    }
    walk->unfinished = 0;
    for (int i = 0; i < SEGMENTS; i++) {
        u64 taken = walk->taken, left = walk->left;
        if (taken >= walk->want)
            return taken;
        if (!walk->segments || !left) {
            u64 message = walk->message;
            if (!walk->messages)
                return taken;
            walk->vector = USER(u64, message + MSGHDR_VECTOR);
            walk->segments = USER(u64, message + MSGHDR_COUNT);
            walk->left = walk->want;
            if (call->shape == SHAPE_MESSAGES)
                walk->left = USER(u32, message + MMSGHDR_LENGTH);
            walk->message = message + MMSGHDR_SIZE;
            walk->messages--;
            continue;
        }
        struct iovec segment = {};
        read_user(&segment, sizeof(segment), (void *)walk->vector);
        walk->vector += IOVEC_SIZE;
        walk->segments--;
        u64 size = segment.length;
        if (size > left)
            size = left;
        if (size > walk->want - taken)
            size = walk->want - taken;
        asm volatile("" : "+r"(size)); /* the bound below is for the verifier: keep it */
        if (size > PAYLOAD_LIMIT)
            return taken;
        u64 at = taken;
        asm volatile("" : "+r"(at)); /* and this mask */
        if (read_user(data + (at & (PAYLOAD_LIMIT - 1)), size, (void *)segment.base))
            return taken;
        walk->taken = taken + size;
        walk->left = left - size;
    }
    walk->unfinished = 1;
    return walk->taken;
}

static inline u32 copy_bytes(u8 *data, u64 pointer, u64 want)
{
    asm volatile("" : "+r"(want));
    if (want > PAYLOAD_LIMIT)
        want = PAYLOAD_LIMIT;
    return read_user(data, want, (void *)pointer) ? 0 : want;
}

/* `segmented` is a constant: each program holds the code of one kind of copying. */
static inline u32 copy(u8 *data, struct walk *walk, struct call *call, int segmented, u64 want, u64 messages)
{
    u32 captured;
    if (call->unread)
        return 0;
    if (!segmented)
        captured = copy_bytes(data, call->pointer, want);
    else {
        walk->want = want;
        captured = copy_vector(data, walk, call, messages);
    }
    if (!captured)
        count(COUNT_UNREADABLE, 1);
    return captured;
}

/* May the call begin with a PROXY protocol header? It is the first one in the direction of the requests. */
static inline int opens_requests(struct conn *conn, u8 direction)
{
    return !conn->fronted && !conn->late && !conn->tls && !conn->position[direction] &&
           (conn->role == ROLE_CLIENT) == direction;
}

/* Puts the first bytes of the call at this position of the stream into `data`, as many as are wanted of this
 * connection; returns how many. Where it begins with a PROXY protocol header, walk->header tells how many
 * there are so far, and the program leave_proxied has to look at what follows it first. */
static inline u32 capture(u8 *data, struct walk *walk, struct call *call, int segmented, struct conn *conn,
                          u64 position, u64 size, u64 messages)
{
    u8 direction = call->direction & 1;
    u64 id = conn->id;
    if (segmented && call->resumed)
        return copy(data, walk, call, segmented, walk->want, messages);
    struct upload *chosen = uploads.lookup(&id);
    u64 limit = chosen ? chosen->limit : UPLOAD_AUTO;
    if (!limit && conn->tls && bpf_ktime_get_ns() - conn->plain_since < PLAIN_GRACE)
        limit = UPLOAD_AUTO;
    if (chosen && position + size <= chosen->unneeded[direction])
        return 0;
    u64 opening = 0, judge = 0;
    if (limit == UPLOAD_AUTO) {
        limit = PAYLOAD_LIMIT;
        if (!conn->protocol) {
            u32 used = conn->opening[direction], room = conn->room + (conn->fronted ? PROXY_HEADERS : 0);
            judge = 1;
            opening = used < room ? room - used : 0;
            limit = opening > RECOGNISE_WINDOW ? opening : RECOGNISE_WINDOW;
        }
    }
    if (limit > PAYLOAD_LIMIT)
        limit = PAYLOAD_LIMIT;
    u32 captured = 0;
    for (int pass = 0; pass < 2; pass++) {
        u64 want = size < limit ? size : limit;
        if (!want)
            return 0;
        captured = copy(data, walk, call, segmented, want, messages);
        if (!judge)
            break;
        walk->answer = recognise(data, captured);
        u32 answer = walk->answer;
        if (!answer) {
            if (opens_requests(conn, direction) && begins_proxy_header(data, captured)) {
                walk->header = captured;
                walk->unfinished = 0;
                return 0;
            }
            if (captured > opening)
                captured = opening;
            conn->opening[direction] += captured;
            walk->unfinished = 0;
            break;
        }
        conn->protocol = answer & RECOGNISED_PROTOCOL;
        if (want == size || limit == PAYLOAD_LIMIT)
            break; /* that was all of it */
        judge = 0;
        limit = PAYLOAD_LIMIT;
    }
    return captured;
}
