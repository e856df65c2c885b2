/* Which protocol do the bytes of one socket call open?
 *
 * Plain C without a library or a kernel header: the BPF program includes it, and the tests compile
 * it for the host. Only the first RECOGNISE_WINDOW bytes are looked at, and each index is masked by
 * it, so that the verifier sees that no access leaves the buffer; the buffer must be that large,
 * the host's too, whatever `size` says. Where a PROXY protocol header may come first, proxy_header()
 * tells how long it is, and recognise() is asked about what follows it, in a buffer as much larger.
 *
 * The answer decides what is uploaded and no more: a decoder still makes up its own mind. A miss
 * costs an access log and a false alarm only some copying, but the calls of every other protocol
 * pass through here too, so the alarms have to be rare.
 */
#ifndef ROVER_RECOGNISE_H
#define ROVER_RECOGNISE_H

#define RECOGNISE_WINDOW 2048 /* a power of two; a first segment with its request head fits */

#define RECOGNISED_NOTHING 0
#define RECOGNISED_HTTP1 1
#define RECOGNISED_HTTP2 2
#define RECOGNISED_PROTOCOL 0x0f /* mask */
#define RECOGNISED_REQUEST 0x10
#define RECOGNISED_RESPONSE 0x20

#define HTTP1_MINIMUM 16 /* "GET / HTTP/1.1\r\n"; nothing is decided on fewer bytes */

#define HTTP2_PREFACE 24     /* RFC 9113 section 3.4 */
#define HTTP2_PREFACE_LINE 14
#define HTTP2_FRAME_HEADER 9 /* section 4.1: length 3, type 1, flags 1, reserved bit and stream 4 */
#define HTTP2_FRAMES 5       /* looked at: SETTINGS, WINDOW_UPDATE and the like may come first */
#define HTTP2_LAST_TYPE 0x09 /* CONTINUATION, the highest type RFC 9113 defines */
#define HTTP2_HEADERS 0x01   /* section 6.2, and its flags */
#define HTTP2_LONGEST 16384  /* of HEADERS: SETTINGS_MAX_FRAME_SIZE unless a peer raises it, and those that
                              * do raise it for DATA. Without this rule a TLS record of 256 bytes, whose
                              * first bytes read as a HEADERS of 1.5 MB, passes every other one. */
#define HTTP2_END_STREAM 0x01
#define HTTP2_END_HEADERS 0x04
#define HTTP2_PADDED 0x08
#define HTTP2_PRIORITY 0x20

#define HPACK_STATIC 61      /* entries of the static table, RFC 7541 appendix A */
#define HPACK_LAST_REQUEST 5 /* 1 to 5: :authority, :method twice, :path twice */
#define HPACK_SIZE_UPDATES 2 /* as many may precede a block's first field, section 4.2 */

#define PROXY_V1_LONGEST 107 /* bytes of the line with its end; proxy-protocol.txt, section 2.1 */
#define PROXY_V1_SHORTEST 15 /* "PROXY UNKNOWN\r\n" */
#define PROXY_V2_FIXED 16    /* section 2.2: signature 12, version and command 1, family 1, length 2 */
#define PROXY_HEADERS 4096   /* a power of two; only user space looks at what follows a longer one */

/* The index is hidden from the compiler: what it knows of its bounds would make it drop the mask, which is
 * all that the verifier knows of them. */
#define ROVER_BYTE(at)                                   \
    ({                                                   \
        unsigned long long index_ = (at);                \
        __asm__ volatile("" : "+r"(index_));             \
        (unsigned)data[index_ & (RECOGNISE_WINDOW - 1)]; \
    })

/* Eight characters as one number, so that a comparison is one branch for the verifier to follow. */
#define ROVER_TEXT(a, b, c, d, e, f, g, h)                                                          \
    ((unsigned long long)(a) | (unsigned long long)(b) << 8 | (unsigned long long)(c) << 16 | (unsigned long long)(d) << 24 | (unsigned long long)(e) << 32 | (unsigned long long)(f) << 40 | \
     (unsigned long long)(g) << 48 | (unsigned long long)(h) << 56)
#define ROVER_EIGHT(at)                                                                         \
    ROVER_TEXT(data[at], data[(at) + 1], data[(at) + 2], data[(at) + 3], data[(at) + 4],        \
               data[(at) + 5], data[(at) + 6], data[(at) + 7])
#define ROVER_FIRST(characters) (~0ULL >> (64 - 8 * (characters)))

/* HTTP/1.x: the version of a status line, or a method with the space after it. */
static inline __attribute__((always_inline)) unsigned recognise_http1(const unsigned char *data,
                                                                      unsigned size)
{
    if (size < HTTP1_MINIMUM)
        return RECOGNISED_NOTHING;
    unsigned long long text = ROVER_EIGHT(0);
    if ((text & ROVER_FIRST(7)) == ROVER_TEXT('H', 'T', 'T', 'P', '/', '1', '.', 0))
        return RECOGNISED_HTTP1 | RECOGNISED_RESPONSE;
    if ((text & ROVER_FIRST(4)) == ROVER_TEXT('G', 'E', 'T', ' ', 0, 0, 0, 0) ||
        (text & ROVER_FIRST(5)) == ROVER_TEXT('P', 'O', 'S', 'T', ' ', 0, 0, 0) ||
        (text & ROVER_FIRST(4)) == ROVER_TEXT('P', 'U', 'T', ' ', 0, 0, 0, 0) ||
        (text & ROVER_FIRST(7)) == ROVER_TEXT('D', 'E', 'L', 'E', 'T', 'E', ' ', 0) ||
        (text & ROVER_FIRST(5)) == ROVER_TEXT('H', 'E', 'A', 'D', ' ', 0, 0, 0) ||
        (text & ROVER_FIRST(6)) == ROVER_TEXT('P', 'A', 'T', 'C', 'H', ' ', 0, 0) ||
        text == ROVER_TEXT('O', 'P', 'T', 'I', 'O', 'N', 'S', ' ') ||
        (text & ROVER_FIRST(6)) == ROVER_TEXT('T', 'R', 'A', 'C', 'E', ' ', 0, 0) ||
        text == ROVER_TEXT('C', 'O', 'N', 'N', 'E', 'C', 'T', ' '))
        return RECOGNISED_HTTP1 | RECOGNISED_REQUEST;
    return RECOGNISED_NOTHING;
}

/* The index a field representation names (RFC 7541 section 6), 0 for a new name. */
static inline __attribute__((always_inline)) unsigned hpack_index(unsigned first, unsigned second)
{
    if (first & 0x80)
        return first & 0x7f; /* indexed field */
    if (first & 0x40)
        return first & 0x3f; /* literal with incremental indexing */
    unsigned index = first & 0x0f; /* literal without indexing, or never indexed */
    if (index < 0x0f)
        return index;
    return second & 0x80 ? HPACK_STATIC + 1 : index + second; /* two continued bytes: above 61 */
}

/* Bytes of a dynamic table size update at `at` (section 6.3), 0 when it is something else. */
static inline __attribute__((always_inline)) unsigned hpack_size_update(const unsigned char *data,
                                                                        unsigned at)
{
    unsigned first = ROVER_BYTE(at);
    if ((first & 0xe0) != 0x20)
        return 0;
    if ((first & 0x1f) != 0x1f)
        return 1;
    if (!(ROVER_BYTE(at + 1) & 0x80))
        return 2;
    if (!(ROVER_BYTE(at + 2) & 0x80))
        return 3;
    return 4; /* sizes to 2 MB; more is somebody else's bytes, and fails on what comes next */
}

static inline __attribute__((always_inline)) int is_http2_preface(const unsigned char *data, unsigned size)
{
    return size >= HTTP2_PREFACE && ROVER_EIGHT(0) == ROVER_TEXT('P', 'R', 'I', ' ', '*', ' ', 'H', 'T') &&
           ROVER_EIGHT(8) == ROVER_TEXT('T', 'P', '/', '2', '.', '0', '\r', '\n') &&
           ROVER_EIGHT(16) == ROVER_TEXT('\r', '\n', 'S', 'M', '\r', '\n', '\r', '\n');
}

/* A reader that first takes the preface's request line alone, as Go's server does. */
static inline __attribute__((always_inline)) int begins_http2_preface(const unsigned char *data, unsigned size)
{
    return size >= HTTP2_PREFACE_LINE && size < HTTP2_PREFACE &&
           ROVER_EIGHT(0) == ROVER_TEXT('P', 'R', 'I', ' ', '*', ' ', 'H', 'T') &&
           (ROVER_EIGHT(8) & ROVER_FIRST(6)) == ROVER_TEXT('T', 'P', '/', '2', '.', '0', 0, 0);
}

static inline __attribute__((always_inline)) unsigned frame_length(const unsigned char *data, unsigned frame)
{
    return (unsigned)ROVER_BYTE(frame) << 16 | (unsigned)ROVER_BYTE(frame + 1) << 8 | ROVER_BYTE(frame + 2);
}

/* What the HEADERS frame at `frame` opens. */
static inline __attribute__((always_inline)) unsigned recognise_headers(const unsigned char *data,
                                                                        unsigned frame, unsigned size)
{
    unsigned flags = ROVER_BYTE(frame + 4);
    unsigned reserved = ROVER_BYTE(frame + 5) & 0x80;
    unsigned stream = ROVER_BYTE(frame + 5) | ROVER_BYTE(frame + 6) | ROVER_BYTE(frame + 7) |
                      ROVER_BYTE(frame + 8);
    if (flags & ~(HTTP2_END_STREAM | HTTP2_END_HEADERS | HTTP2_PADDED | HTTP2_PRIORITY))
        return RECOGNISED_NOTHING;
    if (reserved || !stream || frame_length(data, frame) > HTTP2_LONGEST)
        return RECOGNISED_NOTHING;
    unsigned block = frame + HTTP2_FRAME_HEADER;
    if (flags & HTTP2_PADDED)
        block += 1;
    if (flags & HTTP2_PRIORITY)
        block += 5;
    for (int i = 0; i < HPACK_SIZE_UPDATES; i++)
        block += hpack_size_update(data, block);
    if (block >= size)
        return RECOGNISED_NOTHING;
    unsigned second = block + 1 < size ? ROVER_BYTE(block + 1) : 0x80;
    unsigned index = hpack_index(ROVER_BYTE(block), second);
    if (index == 0 || index > HPACK_STATIC)
        return RECOGNISED_NOTHING;
    return RECOGNISED_HTTP2 | (index <= HPACK_LAST_REQUEST ? RECOGNISED_REQUEST : RECOGNISED_RESPONSE);
}

/* HTTP/2: whole frames, with or without the preface, up to the first HEADERS. After a preface they
 * may be missing still, or come after more frames than are looked at (clients that open with a tree
 * of PRIORITY): those 24 bytes are nobody else's (RFC 9113 section 3.4). */
static inline __attribute__((always_inline)) unsigned recognise_http2(const unsigned char *data,
                                                                      unsigned size)
{
    if (begins_http2_preface(data, size))
        return RECOGNISED_HTTP2 | RECOGNISED_REQUEST;
    int preface = is_http2_preface(data, size);
    unsigned frame = preface ? HTTP2_PREFACE : 0;
    for (int i = 0; i < HTTP2_FRAMES; i++) {
        if (frame + HTTP2_FRAME_HEADER >= size)
            break;
        unsigned type = ROVER_BYTE(frame + 3);
        if (type > HTTP2_LAST_TYPE)
            return RECOGNISED_NOTHING;
        if (type == HTTP2_HEADERS)
            return recognise_headers(data, frame, size);
        frame += HTTP2_FRAME_HEADER + frame_length(data, frame);
    }
    return preface ? RECOGNISED_HTTP2 | RECOGNISED_REQUEST : RECOGNISED_NOTHING;
}

/* Index of the first line feed among the first `size` bytes of a version 1 line, `PROXY_V1_LONGEST` or more
 * when there is none. Without a branch: each would be one more way for the verifier to follow. */
static inline __attribute__((always_inline)) unsigned proxy_line_end(const unsigned char *data)
{
    unsigned long long end = PROXY_V1_SHORTEST - 1, going = 1;
    for (int i = PROXY_V1_SHORTEST - 1; i < PROXY_V1_LONGEST; i++) {
        unsigned long long differs = data[i] ^ '\n';
        __asm__ volatile("" : "+r"(differs)); /* else the compiler makes a branch of it */
        going &= (0 - differs) >> 63;
        end += going;
    }
    return (unsigned)end;
}

/* Do the `size` bytes begin like a PROXY protocol header? */
static inline __attribute__((always_inline)) int begins_proxy_header(const unsigned char *data, unsigned size)
{
    unsigned long long text = ROVER_EIGHT(0);
    return size >= PROXY_V1_SHORTEST &&
           ((text & ROVER_FIRST(6)) == ROVER_TEXT('P', 'R', 'O', 'X', 'Y', ' ', 0, 0) ||
            text == ROVER_TEXT('\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q'));
}

/* Bytes of the PROXY protocol header that the `size` bytes begin with, 0 when they do not. It may be longer
 * than what is here. What its fields say is user space's to judge (rover.pipeline.proxy_header). */
static inline __attribute__((always_inline)) unsigned proxy_header(const unsigned char *data, unsigned size)
{
    if (!begins_proxy_header(data, size))
        return 0;
    if (data[0] == 'P') {
        unsigned end = proxy_line_end(data);
        if (end >= PROXY_V1_LONGEST || end >= size || ROVER_BYTE(end - 1) != '\r')
            return 0;
        return end + 1;
    }
    unsigned long long text = ROVER_EIGHT(8);
    if (size < PROXY_V2_FIXED || (text & ROVER_FIRST(4)) != ROVER_TEXT('U', 'I', 'T', '\n', 0, 0, 0, 0) ||
        (data[12] & 0xfe) != 0x20)
        return 0; /* another signature; neither LOCAL nor PROXY of version 2 */
    return PROXY_V2_FIXED + ((unsigned)data[14] << 8 | data[15]);
}

/* RECOGNISED_... of the `size` bytes at the beginning of a call. */
static inline __attribute__((always_inline)) unsigned recognise(const unsigned char *data, unsigned size)
{
    if (size > RECOGNISE_WINDOW)
        size = RECOGNISE_WINDOW;
    unsigned answer = recognise_http1(data, size);
    return answer ? answer : recognise_http2(data, size);
}

#endif
