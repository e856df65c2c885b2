/* Reading the kernel's structs: offsets come from BTF (OFF_..., btf.py), never from a header. */
#ifndef ROVER_KERNEL_H
#define ROVER_KERNEL_H

/* include/uapi/linux and include/net: values that are part of the kernel's interface */
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_FIN_WAIT1 4
#define TCP_FIN_WAIT2 5
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8
#define TCP_LISTEN 10
#define SOCK_DONE 1 /* bit of sk_flags, include/net/sock.h: a FIN was received */
#define SOCK_LINGER 4
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define EINPROGRESS 115
#define MSG_OOB 0x1
#define MSG_PEEK 0x2
#define MSG_TRUNC 0x20
#define MSG_ERRQUEUE 0x2000
#define SHUT_WR 1
#define SHUT_RDWR 2

/* The helpers by number: where bcc meets their names it looks the kernel's symbols through for them,
 * each time, which made up a third of the time it takes to compile this. */
#define read_kernel ((long (*)(void *, u32, const void *))BPF_FUNC_probe_read_kernel)
#define read_user ((long (*)(void *, u32, const void *))BPF_FUNC_probe_read_user)

/* A field of `type` at an address plus an offset, 0 where nothing is mapped. Since Linux 6.2 it is a load, the
 * address taken for that of a struct which begins with an integer; before, and 30 times as dear, a call. */
#ifdef RDONLY_CAST
#define rdonly_cast ((void *(*)(u64, u32))RDONLY_CAST)
#define KERNEL(type, base, offset) (*(type *)rdonly_cast((u64)(base) + (offset), AN_INTEGER))
#else
#define KERNEL(type, base, offset)                                                    \
    ({                                                                                \
        type value_ = 0;                                                              \
        read_kernel(&value_, sizeof(value_), (void *)((base) + (offset)));  \
        value_;                                                                       \
    })
#endif

/* From the current task on, the verifier knows the types by BTF and lets plain loads through, which
 * cost next to nothing. It loses track past the descriptor table, a pointer to pointers. */
#define current_task ((void *(*)(void))BPF_FUNC_get_current_task_btf)
#define TYPED(type, base, offset) (*(type *)((base) + (offset)))

struct tuple { /* both ends of a connection; IPv4 as v4-mapped */
    u8 local[16];
    u8 remote[16];
    u16 local_port;
    u16 remote_port;
};

/* The struct file behind a descriptor of the current process, 0 when there is none. */
static inline u64 file_of(u32 fd)
{
    void *table = TYPED(void *, TYPED(void *, current_task(), OFF_TASK_FILES), OFF_FILES_FDT);
    if (fd >= TYPED(u32, table, OFF_FDT_MAX))
        return 0;
    return KERNEL(u64, TYPED(u64, table, OFF_FDT_FD), fd * 8);
}

/* The struct sock behind a file, 0 when it is no socket. Of which family is not looked at yet. */
static inline u64 sock_of(u64 file)
{
    if (!file)
        return 0;
    u64 inode = KERNEL(u64, file, OFF_FILE_INODE);
    if ((KERNEL(u16, inode, OFF_INODE_MODE) & S_IFMT) != S_IFSOCK)
        return 0;
    return KERNEL(u64, KERNEL(u64, file, OFF_FILE_PRIVATE), OFF_SOCKET_SK);
}

/* The same of a TCP socket, 0 for all others. Of which family is not looked at yet. */
static inline u64 tcp_sock_of(u64 file)
{
    u64 sk = sock_of(file);
    return sk && KERNEL(u16, sk, OFF_SK_PROTOCOL) == IPPROTO_TCP ? sk : 0;
}

/* Both port numbers: they differ once the socket is connected again. Not skc_num, the local port the
 * kernel looks sockets up by: it is 0 again as soon as both directions are closed. */
static inline u32 ports_of(u64 sk)
{
    return (u32)KERNEL(u16, sk, OFF_SK_SPORT) << 16 | KERNEL(u16, sk, OFF_SK_DPORT);
}

static inline u16 local_port_of(u64 sk)
{
    return bpf_ntohs(KERNEL(u16, sk, OFF_SK_SPORT));
}

static inline u16 remote_port_of(u64 sk)
{
    return bpf_ntohs(KERNEL(u16, sk, OFF_SK_DPORT));
}

/* A TCP socket with a peer? */
static inline int is_connection(u64 sk)
{
    u16 family = KERNEL(u16, sk, OFF_SK_FAMILY);
    if (family != AF_INET && family != AF_INET6)
        return 0;
    if (KERNEL(u16, sk, OFF_SK_PROTOCOL) != IPPROTO_TCP || KERNEL(u16, sk, OFF_SK_TYPE) != SOCK_STREAM)
        return 0;
    return KERNEL(u8, sk, OFF_SK_STATE) != TCP_LISTEN && KERNEL(u16, sk, OFF_SK_DPORT) != 0;
}

static inline void read_tuple(u64 sk, struct tuple *tuple)
{
    tuple->local_port = local_port_of(sk);
    tuple->remote_port = remote_port_of(sk);
#ifdef OFF_SK_V6_LADDR /* CONFIG_IPV6 */
    if (KERNEL(u16, sk, OFF_SK_FAMILY) == AF_INET6) {
        read_kernel(tuple->local, 16, (void *)(sk + OFF_SK_V6_LADDR));
        read_kernel(tuple->remote, 16, (void *)(sk + OFF_SK_V6_DADDR));
        return;
    }
#endif
    __builtin_memset(tuple->local, 0, 16);
    __builtin_memset(tuple->remote, 0, 16);
    tuple->local[10] = tuple->local[11] = tuple->remote[10] = tuple->remote[11] = 0xff;
    read_kernel(tuple->local + 12, 4, (void *)(sk + OFF_SK_LADDR));
    read_kernel(tuple->remote + 12, 4, (void *)(sk + OFF_SK_DADDR));
}

/* The registers that the current thread entered the kernel with; a kernel thread's tell of no call on a socket. */
#define task_registers ((void *(*)(void *))BPF_FUNC_task_pt_regs)

/* Is the current call one of a 32-bit process? Those have numbers and layouts of their own. */
static inline int is_compat(void)
{
    return TYPED(u32, current_task(), OFF_THREAD_COMPAT) & THREAD_COMPAT;
}

/* A process as number `level` of the nested pid namespaces sees it; 0 where it is not visible. */
static inline u32 pid_at(u64 task, u32 level)
{
    u64 pid = KERNEL(u64, task, OFF_TASK_PID);
    if (level > KERNEL(u32, pid, OFF_PID_LEVEL))
        return 0;
    return KERNEL(u32, pid, OFF_PID_NUMBERS + level * SIZE_UPID + OFF_UPID_NR);
}

#endif
