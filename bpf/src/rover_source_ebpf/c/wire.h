/* What a record looks like in the ring buffer. record.py reads the same layout.
 *
 * Every record starts with the same 64 bytes; what follows depends on its kind. The fields from
 * `connection` on stand in the order of rover.records.Detail, so that one unpack makes one.
 * Host byte order throughout.
 */
#ifndef ROVER_WIRE_H
#define ROVER_WIRE_H

#define KIND_PROCESS 1 /* struct process_record */
#define KIND_OPENED 2  /* struct opened_record */
#define KIND_DATA 3    /* struct header, then `captured` bytes of payload */
#define KIND_CLOSED 4  /* struct closed_record */
#define KIND_PLAINTEXT 5 /* struct plaintext_record, then `captured` bytes of plaintext */
#define KIND_PLACED 6    /* struct placed_record */

#define FLAG_DETAIL 1 /* OPENED, CLOSED: the header tells of a call */
#define FLAG_LATE 2   /* OPENED: the connection existed before it was first seen */
#define FLAG_RESET 4  /* CLOSED: a RST ended it */
#define FLAG_WAITING 8 /* PLAINTEXT: the connection is not known yet; `connection` is a placed_record's serial */

#define ROLE_UNKNOWN 0
#define ROLE_CLIENT 1
#define ROLE_SERVER 2

#define INGRESS 0 /* rover.records.Direction */
#define EGRESS 1

struct header {
    u16 kind;
    u16 flags;
    u32 captured;
    u64 connection;
    u64 sequence;
    u64 start;
    u64 end;
    u64 position;
    u32 size;
    u32 pid;
    s32 fd;
    u16 syscall; /* rover.records.Syscall */
    u8 direction;
    u8 error;
};

struct process_record {
    struct header header; /* only pid and end are set */
    char comm[16];
};

struct opened_record {
    struct header header;
    u64 time;
    u8 local[16]; /* IPv4 as v4-mapped IPv6 */
    u8 remote[16];
    u16 local_port;
    u16 remote_port;
    u8 role;
    u8 unused[3];
};

struct closed_record {
    struct header header;
    u64 unseen; /* bytes that the process moved by calls there is no record of */
};

#define NO_POSITION (~0ULL)

struct plaintext_record { /* header: fd and syscall are of no meaning */
    struct header header;
    u64 ciphertext; /* where the ciphertext ends; of FLAG_WAITING by the library's count. NO_POSITION: unknown */
};

/* Plaintext that waited under this serial is of header.connection. Of what a waiting record says, its sequence number
 * counts from header.sequence, its position from `position`, its ciphertext from `offset`, where that is known. */
struct placed_record {
    struct header header;
    u64 serial;
    u64 position[2];
    u64 offset[2];
    u32 known; /* directions, a bit each */
    u32 unused;
};

#endif
