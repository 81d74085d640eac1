/* Motion of HEVC pictures, read with libde265: a C interface.
 *
 * Push a stream in Annex-B form, one access unit at a time; pictures come out in decode order. Pixels are never
 * reconstructed: motion follows from the entropy-coded syntax alone, and leaving out prediction, transforms and
 * loop filters makes reading several times faster.
 */
#ifndef ARSEG_MOTION_READER_H
#define ARSEG_MOTION_READER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { MOTION_BLOCK_SIZE = 4 };

/* ref_poc where a list does not predict a block. */
#define MOTION_NO_REFERENCE INT32_MIN

enum motion_mode { MOTION_INTRA = 0, MOTION_INTER = 1, MOTION_SKIP = 2 };

enum motion_result { MOTION_ERROR = -1, MOTION_NONE = 0, MOTION_PICTURE = 1 };

typedef struct motion_reader motion_reader;

/* One displayed picture. Arrays are row by row over the blocks that cover it, and live until the next call. */
typedef struct {
    int32_t number;          /* that its access unit was given with */
    int32_t poc;             /* picture order count */
    int32_t is_keyframe;     /* 1 if decoding can start here: an intra random access point */
    int32_t is_reference;    /* 0 if no picture of its own temporal layer refers to it */
    int32_t kind;            /* 'I', 'P' or 'B' */
    int32_t width, height;   /* displayed pixels */
    int32_t block_columns, block_rows;
    int32_t num_lists;       /* 2 in B-pictures, else 1: only so many of the arrays below are set */
    const uint8_t *mode;     /* enum motion_mode */
    const int16_t *motion_qpel[2]; /* (x, y) of each block in quarter pixels, 0 where the list is unused */
    const int32_t *ref_poc[2];     /* picture order count of the reference, or MOTION_NO_REFERENCE */
} motion_picture;

/* Version of libde265. */
const char *motion_library_version(void);

/* NULL if there is no memory. */
motion_reader *motion_open(void);
void motion_close(motion_reader *reader);

/* Give one whole access unit, with a number for its picture; size 0 ends the stream. Then call motion_next until it gives no more pictures. */
void motion_push(motion_reader *reader, const uint8_t *data, size_t size, int32_t number);

/* The next picture in decode order: MOTION_PICTURE, MOTION_NONE if more data are needed (or the stream has ended),
 * or MOTION_ERROR, after which the reader is of no further use. */
enum motion_result motion_next(motion_reader *reader, motion_picture *picture);

/* What was wrong, in words, after MOTION_ERROR. */
const char *motion_error(const motion_reader *reader);

#ifdef __cplusplus
}
#endif
#endif
