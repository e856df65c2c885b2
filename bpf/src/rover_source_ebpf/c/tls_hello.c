/* How a TLS connection begins, seen in a socket call: by its random a library's object is known to be of it. */

#if TLS
#define HELLO 43 /* bytes up to the end of the random: a record's header, a message's, the version, the random */
#define HELLO_RANDOM 11
#define RANDOM 32

/* The ClientHello that a socket call has moved. */
struct tls_random {
    u64 tgid;
    u64 direction;
    u8 bytes[RANDOM];
};
struct tls_hello {
    u64 sk;
    u64 connection;
    u64 before[2]; /* bytes of each direction that the socket had moved before */
};
BPF_TABLE("lru_hash", struct tls_random, struct tls_hello, tls_hellos, 4096);

/* The user memory that the first bytes of a socket call lie in. */
static inline u64 first_bytes(struct call *call)
{
    u64 at = call->pointer;
    if (call->shape == SHAPE_MESSAGE || call->shape == SHAPE_MESSAGES)
        at = USER(u64, at + MSGHDR_VECTOR);
    if (call->shape != SHAPE_BYTES)
        at = USER(u64, at);
    return at;
}

/* A socket call moves bytes of a connection that no plaintext came of: do they begin with a ClientHello?
 * One that comes in pieces is not found. */
static inline void look_for_hello(struct call *call, u64 sk, struct conn *conn, u64 size)
{
    u8 head[HELLO + 1];
    u8 direction = call->direction & 1;
    if (size < HELLO || call->unread || read_user(head, HELLO, (void *)first_bytes(call)))
        return;
    if (head[0] != 22 || head[1] != 3 || head[5] != 1) /* RFC 8446 sections 5.1 and 4: handshake, client_hello */
        return;
    struct tls_random random = {.tgid = bpf_get_current_pid_tgid() >> 32, .direction = direction};
    struct tls_hello hello = {.sk = sk, .connection = conn->id};
    hello.before[INGRESS] = conn->position[INGRESS];
    hello.before[EGRESS] = conn->position[EGRESS];
    __builtin_memcpy(random.bytes, head + HELLO_RANDOM, RANDOM);
    tls_hellos.insert(&random, &hello); /* a second one, after a HelloRetryRequest, has the same random */
}
#endif
