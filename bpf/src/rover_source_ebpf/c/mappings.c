/* Files that processes begin to run code from: the agent looks for TLS libraries in them. */

#if TLS
#define PROT_EXEC 4 /* include/uapi/asm-generic/mman-common.h */

struct tls_file {
    u64 inode;
    u32 device;
    u32 unused;
};
BPF_TABLE("lru_hash", struct tls_file, u8, tls_files, TLS_FILES);

/* The current process runs code from a file: the agent is told once of each. */
static inline void tell_mapped(u64 file)
{
    u64 inode = KERNEL(u64, file, OFF_FILE_INODE);
    struct tls_file key = {
        .inode = KERNEL(u64, inode, OFF_INODE_INO),
        .device = KERNEL(u32, KERNEL(u64, inode, OFF_INODE_SB), OFF_SB_DEV),
    };
    u8 yes = 1;
    if (!inode || tls_files.lookup(&key))
        return;
    struct verdict *verdict = watched(bpf_get_current_pid_tgid() >> 32);
    if (!verdict)
        return;
    struct tls_mapped mapped = {.inode = key.inode, .device = key.device, .pid = verdict->pid};
    if (!tls_mapped.ringbuf_output(&mapped, sizeof(mapped), 0))
        tls_files.update(&key, &yes);
}

#if SOCKETS
/* Where mmap is not seen, it is a process's first connection that the agent looks at it for. */
static inline void tell_connecting(void)
{
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    struct verdict *verdict = verdicts.lookup(&tgid);
    if (!verdict || !verdict->watched || verdict->told)
        return;
    struct tls_mapped mapped = {.pid = verdict->pid};
    verdict->told = !tls_mapped.ringbuf_output(&mapped, sizeof(mapped), 0);
}
#endif

/* mmap(address, length, protection, flags, descriptor, offset) begins. */
static inline void mapping(u64 registers)
{
    if (KERNEL(u32, registers, OFF_MMAP_PROTECTION) & PROT_EXEC) {
        u64 file = file_of(KERNEL(u32, registers, OFF_MMAP_DESCRIPTOR));
        if (file)
            tell_mapped(file);
    }
}
#endif
