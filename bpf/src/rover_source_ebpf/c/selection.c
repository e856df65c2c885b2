/* Which processes and connections are watched. */

#define ANCESTORS 32 /* parents looked at; deeper trees are watched from their upper part down */
#define CGROUP_DEPTH 32

#if SELECT_PIDS
BPF_TABLE("hash", u32, u8, family, MAX_PROCESSES); /* key: the agent's pid for it */
#endif
#if SELECT_COMMS
struct comm {
    char name[16];
};
BPF_TABLE("hash", struct comm, u8, comms, 256);
#endif
#if SELECT_CGROUPS
BPF_TABLE("hash", u64, u8, cgroups, 256);
#endif
#if SELECT_PORTS
BPF_TABLE("array", u32, u64, ports, 1024); /* one bit each */
#endif
#define SELECT_PROCESSES (SELECT_PIDS || SELECT_COMMS || SELECT_CGROUPS)
#define FOLLOW_FORKS (SELECT_PIDS || (TLS && SELECT_PROCESSES))
#if REFUSE_TUPLES
BPF_TABLE("hash", struct tuple, u8, refused, 16);
#endif

#if TLS
/* What the agent is told for its probes in TLS libraries. */
struct tls_mapped {
    u64 inode;  /* of a file that a process begins to run code from, see mappings.c; 0: of no certain one */
    u32 device; /* of that file; without a file, TLS_BEGUN or 0 */
    u32 pid;
};
BPF_RINGBUF_OUTPUT(tls_mapped, TLS_MAPPED_PAGES);

#define TLS_BEGUN 1 /* the process is watched from now on */

static inline void tell_begun(u32 pid)
{
#if SELECT_PROCESSES /* else probes are in every process anyway */
    struct tls_mapped begun = {.device = TLS_BEGUN, .pid = pid};
    tls_mapped.ringbuf_output(&begun, sizeof(begun), 0);
#endif
}
#endif

static inline u32 pid_of(u64 task)
{
    u32 zero = 0;
    struct agent *agent = agents.lookup(&zero);
    u32 level = agent ? agent->level : 0;
    u32 pid = pid_at(task, level);
    return pid ? pid : KERNEL(u32, task, OFF_TASK_TGID);
}

#if SELECT_PIDS
static inline int descends(u64 task)
{
    u8 yes = 1;
    u32 self = pid_of(task);
    for (int i = 0; i < ANCESTORS; i++) {
        u32 pid = pid_of(task);
        if (family.lookup(&pid)) {
            family.update(&self, &yes);
            return 1;
        }
        if (KERNEL(u32, task, OFF_TASK_TGID) <= 1)
            return 0;
        task = KERNEL(u64, KERNEL(u64, task, OFF_TASK_PARENT), OFF_TASK_LEADER);
    }
    return 0;
}
#endif

static inline int is_watched(u64 task, u32 pid)
{
    if (ignored.lookup(&pid))
        return 0;
#if SELECT_COMMS
    struct comm comm = {};
    read_kernel(&comm, sizeof(comm), (void *)(task + OFF_TASK_COMM));
    if (!comms.lookup(&comm))
        return 0;
#endif
#if SELECT_CGROUPS
    int inside = 0;
    for (int level = 0; level < CGROUP_DEPTH; level++) {
        u64 id = bpf_get_current_ancestor_cgroup_id(level);
        if (!id)
            break;
        if (cgroups.lookup(&id)) {
            inside = 1;
            break;
        }
    }
    if (!inside)
        return 0;
#endif
#if SELECT_PIDS
    return descends(task);
#else
    return 1;
#endif
}

/* The verdict on the current process: one lookup, except at its first call. NULL: not watched. */
static inline struct verdict *watched(u32 tgid)
{
    struct verdict *verdict = verdicts.lookup(&tgid);
    if (!verdict) {
        u32 zero = 0;
        struct agent *agent = agents.lookup(&zero);
        if (!agent || !agent->tgid)
            return 0; /* nothing before the agent is known */
        struct verdict fresh = {};
        u64 leader = KERNEL(u64, bpf_get_current_task(), OFF_TASK_LEADER);
        fresh.pid = pid_of(leader);
        fresh.watched = tgid != agent->tgid && is_watched(leader, fresh.pid);
        verdicts.update(&tgid, &fresh);
        verdict = verdicts.lookup(&tgid);
#if TLS
        if (fresh.watched)
            tell_begun(fresh.pid);
#endif
    }
    return verdict && verdict->watched ? verdict : 0;
}

/* Whether a socket has a selected port on either end, or may get one by this call: it has no peer
 * yet. Meaningless for what has no ports. */
static inline int has_selected_port(u64 sk)
{
#if SELECT_PORTS
    u16 local = local_port_of(sk), remote = remote_port_of(sk);
    u32 word = local >> 6;
    u64 *bits = ports.lookup(&word);
    if (!remote)
        return 1;
    if (bits && (*bits >> (local & 63)) & 1)
        return 1;
    word = remote >> 6;
    bits = ports.lookup(&word);
    return bits && (*bits >> (remote & 63)) & 1;
#else
    return 1;
#endif
}

/* Opening bytes of each direction to upload of a new connection: on a port that is some protocol's own, all
 * that can come before the agent has decided. */
static inline u32 opening_room(u64 sk)
{
    u32 zero = 0;
    struct agent *agent = agents.lookup(&zero);
    u16 local = local_port_of(sk), remote = remote_port_of(sk);
    u32 word = local >> 6;
    u64 *bits = own_ports.lookup(&word);
    if (bits && (*bits >> (local & 63)) & 1)
        return OWN_BYTES;
    word = remote >> 6;
    bits = own_ports.lookup(&word);
    if (bits && (*bits >> (remote & 63)) & 1)
        return OWN_BYTES;
    return agent ? agent->opening : 0;
}

/* Whether a connection that is not known yet is to be. */
static inline int is_selected(u64 sk)
{
    if (!has_selected_port(sk))
        return 0;
#if REFUSE_TUPLES
    struct tuple tuple;
    read_tuple(sk, &tuple);
    if (refused.lookup(&tuple))
        return 0;
#endif
    return 1;
}
