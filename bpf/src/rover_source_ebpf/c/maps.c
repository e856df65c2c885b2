/* All state the kernel side keeps, and the figures it counts. */

/* A socket call under way. One per thread of a watched process, kept while the thread lives: an
 * entry in place costs less than making and removing one for each call. The agent makes entries
 * too (source.py, CALL), for calls that were under way before it. */
struct call {
    u64 sk; /* 0: none under way */
    u64 start;
    u32 number;      /* the kernel's number of the call */
    u8 stage;        /* the program that goes on when it is left */
    u8 shape;        /* of what pointer points to */
    u8 unread;       /* the bytes went nowhere, or past the process */
    u8 direction;
    u64 pointer;     /* user memory */
    u64 count;       /* bytes, iovecs or messages there */
    u64 moved;       /* bytes, for SHAPE_MESSAGES */
    u64 refused;     /* the last sk of the thread that turned out not to be watched */
    u64 file;
    u64 connection;  /* close: the connection's id, and what is told of it when it is gone */
    u64 sequence;
    u64 position;
    u32 pid;
    s32 fd;
    u16 syscall;
    u8 role;         /* connect and accept: what the connection is opened as */
    u8 told;         /* readers that have been told of the process, a bit each */
    u8 introduced;   /* whatever has to be told before has been */
    u8 resumed;      /* times a program went on copying where the one before had to stop */
    u8 announced;    /* close: the connection had been told of */
    u8 gone;         /* close: the kernel destroyed the socket meanwhile */
    u8 reset;
    u8 tls;          /* kinds of TLS libraries that the process has called, see tls_objects.c */
    u8 unused[2];
    u32 slot;        /* of the scratch that belongs to the copy it is left by; 0: the first copy's */
    u64 unseen;      /* close: bytes of the connection that no recorded call moved */
};
_Static_assert(sizeof(struct call) == CALL_SIZE, "struct call is not what source.py takes it for");

#define SHAPE_BYTES 0    /* pointer: count bytes */
#define SHAPE_VECTOR 1   /* pointer: count iovecs */
#define SHAPE_MESSAGE 2  /* pointer: one msghdr */
#define SHAPE_MESSAGES 3 /* pointer: mmsghdr array */

/* A connection: what it is told of by, and how far it has come. */
struct conn {
    u64 id;
    u64 opened;
    u64 sequence;
    u64 position[2];
    u64 uploaded;
    u64 closer; /* the thread in a close call on it */
    u32 ports;
    u32 opening[2]; /* opening bytes uploaded while nothing was recognised */
    u32 base[2];    /* the kernel's sequence number at position 0 of each direction; see unseen() */
    u8 role;
    u8 late;
    u8 announced;
    u8 protocol;
    u8 reset;
    u8 based;       /* base is known */
    u8 fronted;     /* a PROXY protocol header came first */
    u8 tls;         /* plaintext came of it: its own bytes are ciphertext */
    u32 room;       /* of each direction: opening bytes to upload while nothing is recognised */
    u64 plain_sequence;
    u64 plain[2];   /* bytes of plaintext that moved */
    u64 before;     /* bytes that the process had read before it was first seen */
    u64 plain_since; /* when the first plaintext came */
};

_Static_assert(sizeof(struct conn) == CONNECTION_SIZE, "struct conn is not what source.py takes it for");

/* What the agent wants of a connection's bytes; and what it was told when the connection was announced,
 * for one that it gave up and has to know again. */
struct upload {
    u32 limit; /* bytes of each call */
    u32 pid;
    u64 unneeded[2]; /* nothing of calls that end before this position */
    u64 opened;      /* 0: it was not announced */
    u8 local[16];
    u8 remote[16];
    u16 local_port;
    u16 remote_port;
    u8 role;
    u8 unused[3];
};
_Static_assert(sizeof(struct upload) == UPLOAD_SIZE, "struct upload is not what source.py takes it for");

struct verdict {
    u32 pid; /* as the agent's pid namespace numbers it */
    u8 watched;
    u8 announced; /* to these readers, a bit each */
    u8 tls; /* kinds of TLS libraries that it has called, see tls_objects.c */
    u8 told; /* of the code that it runs, see mappings.c */
};

struct agent {
    u32 tgid; /* as the kernel numbers it; 0 until the marker call */
    u32 level; /* of its pid namespace */
    u32 marker; /* it closes a descriptor of this number, which it drew, to tell who it is */
    u32 opening; /* see struct conn, room; of a connection on none of own_ports */
};

/* Where a call's bytes are copied from. It lies in the scratch and not on the stack because what
 * is read back from a map is any number to the verifier: it then sees that one round of the loop
 * is like the next, and needs not follow every possible sum. */
struct walk {
    u64 want;     /* bytes to copy; at most PAYLOAD_LIMIT */
    u64 taken;    /* copied */
    u64 left;     /* not copied yet of the current message */
    u64 vector;   /* next iovec */
    u64 segments; /* how many are left */
    u64 message;  /* next msghdr or mmsghdr */
    u64 messages; /* how many are left */
    u64 size;     /* bytes the whole call moved */
    u32 answer;   /* of recognise() */
    u32 unfinished; /* there is more to copy than one program may loop over */
    u32 header;     /* bytes here that begin with a PROXY protocol header; what follows it is not examined yet */
    u32 unused;
};

/* A record under construction. Twice the limit, so that a bounded length after a bounded offset
 * stays inside, which is all the verifier can follow. */
struct scratch {
    struct header header;
    u8 data[2 * PAYLOAD_LIMIT];
    struct walk walk;
};

#define UPLOAD_AUTO 0xffffffff /* the kernel recognises */

/* One for each reader. No loop writes these lines: bcc has to see each name where it is used. */
BPF_RINGBUF_OUTPUT(events_0, RING_PAGES);
#if RINGS > 1
BPF_RINGBUF_OUTPUT(events_1, RING_PAGES);
#endif
#if RINGS > 2
BPF_RINGBUF_OUTPUT(events_2, RING_PAGES);
#endif
#if RINGS > 3
BPF_RINGBUF_OUTPUT(events_3, RING_PAGES);
#endif
#if RINGS > 4
BPF_RINGBUF_OUTPUT(events_4, RING_PAGES);
#endif
#if RINGS > 5
BPF_RINGBUF_OUTPUT(events_5, RING_PAGES);
#endif
#if RINGS > 6
BPF_RINGBUF_OUTPUT(events_6, RING_PAGES);
#endif
#if RINGS > 7
BPF_RINGBUF_OUTPUT(events_7, RING_PAGES);
#endif
BPF_TABLE("hash", u64, struct call, calls, MAX_THREADS);          /* key: pid_tgid */
BPF_TABLE("hash", u64, struct conn, conns, MAX_CONNECTIONS);      /* key: struct sock */
BPF_TABLE("hash", u64, struct upload, uploads, MAX_CONNECTIONS);  /* key: id */
BPF_TABLE("lru_hash", u32, struct verdict, verdicts, MAX_PROCESSES); /* key: tgid */
BPF_TABLE("hash", u32, u8, ignored, 1024);                        /* key: the agent's pid for it */
BPF_TABLE("array", u32, struct agent, agents, 1);
BPF_TABLE("array", u32, u64, own_ports, 1024);                    /* one bit each: of protocols, or pinned */
BPF_TABLE("array", u32, struct scratch, scratches, CPUS * COPIES);
#if COPIES > 1
BPF_TABLE("array", u32, u64, entering, CPUS); /* the thread whose call was seen to begin; see copies.c */
#endif
BPF_TABLE("percpu_array", u32, u64, counters, COUNTERS);

/* counters */
#define COUNT_RECORDS 0     /* sent */
#define COUNT_UPLOADED 1    /* bytes of payload in them */
#define COUNT_RING_FULL 2   /* records that found no room */
#define COUNT_UNTRACKED 3   /* calls of connections that found no room in conns or uploads */
#define COUNT_UNSEEN 4      /* calls of threads that found no room in calls */
#define COUNT_UNREADABLE 5  /* payloads that could not be read from the process */
#define COUNT_TLS_UNPLACED 6 /* calls of TLS libraries whose connection was not found */
#define COUNTERS_USED 7

/* The scratch of the program that runs here: nobody else has it until that returns, because the kernel runs
 * no program again on a processor where one has not returned (kernel/trace/bpf_trace.c, __bpf_trace_run),
 * and each copy of a program has its own. */
static inline struct scratch *own_scratch(struct call *call)
{
    u32 slot = bpf_get_smp_processor_id();
#if COPIES > 1
    if (call->slot)
        slot = call->slot;
#endif
    return scratches.lookup(&slot);
}

static inline void count(u32 which, u64 by)
{
    u64 *counter = counters.lookup(&which);
    if (counter)
        __sync_fetch_and_add(counter, by);
}
