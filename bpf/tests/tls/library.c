/* A TLS library with the outer shape of OpenSSL and none of the cryptography: records with a header of 5 bytes, a
 * number that stands for the nonce, the plaintext with every bit flipped, and a tag. What the tests need of it, it
 * does on demand: it writes to memory instead of a socket, wants to be called again, calls itself. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD 13
#define TAG 8
#define LONGEST 16384

struct bio {
    uint64_t unused[3];
    uint64_t num_read, num_written;
    struct object *through; /* another object that carries the bytes; else: */
    int fd;                 /* -1: memory */
    unsigned char *bytes;
    size_t size;
};
struct object {
    int kind;
    int refuse; /* this many calls find that the socket is full */
    int greeted;
    struct bio *rbio, *wbio;
    void (*call_back)(void); /* the next write does this first */
    unsigned char random[32]; /* of the ClientHello */
    unsigned char plain[LONGEST];
    size_t left, at;
};
static const unsigned char no_random[8];
#define NOINLINE __attribute__((noinline))

int tls_read(struct object *object, void *buffer, size_t size);
int tls_write(struct object *object, const void *buffer, size_t size);

static struct bio *new_bio(int fd)
{
    struct bio *bio = calloc(1, sizeof(*bio));
    bio->fd = fd;
    return bio;
}

struct object *tls_new(int fd)
{
    struct object *object = calloc(1, sizeof(*object));
    object->rbio = new_bio(fd);
    object->wbio = new_bio(fd);
    return object;
}

/* Its ciphertext is another object's plaintext. */
struct object *tls_new_through(struct object *outer)
{
    struct object *object = tls_new(-1);
    object->rbio->through = object->wbio->through = outer;
    return object;
}

NOINLINE void tls_free(struct object *object)
{
    __asm__ volatile("");
    free(object->rbio);
    free(object->wbio);
    free(object);
}

void tls_refuse(struct object *object, int times) { object->refuse = times; }
void tls_call_back(struct object *object, void (*call_back)(void)) { object->call_back = call_back; }
void tls_kind(struct object *object, int kind) { object->kind = kind; }

NOINLINE int bio_write(struct bio *bio, const void *bytes, int size)
{
    int moved = size;
    if (bio->through)
        moved = tls_write(bio->through, bytes, size);
    else if (bio->fd >= 0)
        moved = write(bio->fd, bytes, size);
    else {
        bio->bytes = realloc(bio->bytes, bio->size + size);
        memcpy(bio->bytes + bio->size, bytes, size);
        bio->size += size;
    }
    if (moved > 0)
        bio->num_written += moved;
    return moved;
}

static int bio_read(struct bio *bio, unsigned char *bytes, int size)
{
    int moved = size;
    if (bio->through)
        moved = tls_read(bio->through, bytes, size);
    else if (bio->fd >= 0)
        moved = recv(bio->fd, bytes, size, MSG_WAITALL);
    else {
        if (bio->size < (size_t)size)
            return -1;
        memcpy(bytes, bio->bytes, size);
        bio->size -= size;
        memmove(bio->bytes, bio->bytes + size, bio->size);
    }
    if (moved > 0)
        bio->num_read += moved;
    return moved;
}

/* What the program moves between memory and its socket. */
int memory_take(struct object *object, void *buffer, int size)
{
    struct bio *bio = object->wbio;
    int moved = (size_t)size < bio->size ? size : (int)bio->size;
    memcpy(buffer, bio->bytes, moved);
    bio->size -= moved;
    memmove(bio->bytes, bio->bytes + moved, bio->size);
    return moved;
}
int memory_put(struct object *object, const void *bytes, int size)
{
    struct bio *bio = object->rbio;
    bio->bytes = realloc(bio->bytes, bio->size + size);
    memcpy(bio->bytes + bio->size, bytes, size);
    bio->size += size;
    return size;
}

/* The program takes back what the library has not read yet, through the BIO, which counts it as read. */
int memory_take_back(struct object *object, void *buffer, int size)
{
    return bio_read(object->rbio, buffer, size);
}

NOINLINE int tls_write(struct object *object, const void *buffer, size_t size)
{
    static uint64_t number;
    unsigned char record[HEAD + LONGEST + TAG] = {23, 3, 3};
    size_t length = size + 8 + TAG;
    if (size > LONGEST || object->refuse-- > 0)
        return -1;
    object->refuse = 0;
    if (object->call_back)
        object->call_back();
    object->call_back = 0;
    record[3] = length >> 8;
    record[4] = length;
    number = number * 6364136223846793005u + 1442695040888963407u + (uintptr_t)object + getpid();
    memcpy(record + 5, &number, 8);
    for (size_t i = 0; i < size; i++)
        record[HEAD + i] = ~((const unsigned char *)buffer)[i];
    int moved = bio_write(object->wbio, record, HEAD + size + TAG);
    return moved > 0 ? (int)size : moved;
}

/* The next record, if there is none left over. */
static int fill(struct object *object)
{
    unsigned char record[HEAD + LONGEST + TAG];
    if (object->left)
        return 1;
    int moved = bio_read(object->rbio, record, 5);
    if (moved != 5)
        return moved;
    size_t length = record[3] << 8 | record[4];
    if (bio_read(object->rbio, record + 5, length) != (int)length)
        return -1;
    object->left = length - 8 - TAG;
    object->at = 0;
    for (size_t i = 0; i < object->left; i++)
        object->plain[i] = ~record[HEAD + i];
    return 1;
}

static int give(struct object *object, void *buffer, size_t size)
{
    int filled = fill(object);
    if (filled <= 0)
        return filled;
    size_t moved = size < object->left ? size : object->left;
    memcpy(buffer, object->plain + object->at, moved);
    return moved;
}

NOINLINE int tls_read(struct object *object, void *buffer, size_t size)
{
    if (object->refuse-- > 0)
        return -1;
    object->refuse = 0;
    int moved = give(object, buffer, size);
    if (moved > 0) {
        object->left -= moved;
        object->at += moved;
    }
    return moved;
}

NOINLINE int tls_read_ex(struct object *object, void *buffer, size_t size, size_t *moved)
{
    int given = give(object, buffer, size);
    if (given <= 0)
        return 0;
    object->left -= given;
    object->at += given;
    *moved = given;
    return 1;
}

NOINLINE int tls_peek(struct object *object, void *buffer, size_t size)
{
    return give(object, buffer, size);
}

/* Of a server, which has it of its client, and sends no hello. */
void tls_random(struct object *object, const unsigned char *random)
{
    memcpy(object->random, random, 32);
    object->greeted = 1;
}

/* Both ends send a record that is shaped like a ClientHello up to the end of its random, and read one. */
NOINLINE int tls_handshake(struct object *object)
{
    unsigned char hello[61] = {22, 3, 1, 0, 56, 1, 0, 0, 52, 3, 3}, peer[61];
    uint64_t number = (uintptr_t)object * 6364136223846793005u + getpid();
    if (!object->greeted && !memcmp(object->random, no_random, 8))
        memcpy(object->random, &number, 8);
    memcpy(hello + 11, object->random, 32);
    if (!object->greeted && bio_write(object->wbio, hello, sizeof(hello)) <= 0)
        return -1;
    object->greeted = 1;
    return bio_read(object->rbio, peer, sizeof(peer)) == sizeof(peer) ? 1 : -1;
}
