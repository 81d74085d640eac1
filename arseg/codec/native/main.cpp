// hevc-motion: reads an HEVC stream from standard input and answers with motion on standard output.
//
// The library decodes untrusted data, so it works in a process of its own: whatever a damaged stream makes it do, the
// caller only sees this program end. Requests and answers alternate, in the machine's byte order:
//
//   request   uint32 size, int32 number, then the bytes of one access unit (size 0: the stream has ended)
//   answer    int32 number of pictures, in decode order, each: 10 x int32 (number of its access unit, poc, is_keyframe,
//             is_reference, kind, width, height, block_columns, block_rows, num_lists), uint8 mode per block, and for
//             each list int16 (x, y) and int32 ref_poc per block;
//             or int32 -1, int32 size and a message, after which the program ends
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <vector>

#include "motion_reader.h"

namespace {

constexpr const char *version = "hevc-motion 3";
constexpr unsigned seconds_per_access_unit = 60;  // far beyond what any picture takes: the decoder hangs
constexpr rlim_t max_memory = rlim_t(4) << 30;    // a damaged header may ask for any amount

bool read_all(void *data, size_t size) { return fread(data, 1, size, stdin) == size; }

void append(std::vector<uint8_t> &answer, const void *data, size_t size)
{
    const auto *bytes = static_cast<const uint8_t *>(data);
    answer.insert(answer.end(), bytes, bytes + size);
}

void append(std::vector<uint8_t> &answer, const motion_picture &picture)
{
    const int32_t header[] = {picture.number, picture.poc,    picture.is_keyframe,   picture.is_reference, picture.kind,
                              picture.width,  picture.height, picture.block_columns, picture.block_rows,   picture.num_lists};
    const size_t num_blocks = size_t(picture.block_columns) * picture.block_rows;
    append(answer, header, sizeof header);
    append(answer, picture.mode, num_blocks);
    for (int list = 0; list < picture.num_lists; list++) {
        append(answer, picture.motion_qpel[list], num_blocks * 2 * sizeof(int16_t));
        append(answer, picture.ref_poc[list], num_blocks * sizeof(int32_t));
    }
}

bool write_answer(int32_t number, const void *data, size_t size)
{
    return fwrite(&number, sizeof number, 1, stdout) == 1 && fwrite(data, 1, size, stdout) == size &&
           fflush(stdout) == 0;
}

int fail(const char *message)
{
    const int32_t size = int32_t(strlen(message));
    std::vector<uint8_t> answer;
    append(answer, &size, sizeof size);
    append(answer, message, size_t(size));
    write_answer(-1, answer.data(), answer.size());
    return 1;
}

int serve(motion_reader *reader)
{
    std::vector<uint8_t> unit, answer;
    int32_t number;
    for (uint32_t size; read_all(&size, sizeof size) && read_all(&number, sizeof number);) {
        unit.resize(size);
        if (!read_all(unit.data(), size)) return 1;
        alarm(seconds_per_access_unit);
        motion_push(reader, unit.data(), size, number);
        answer.clear();
        int32_t num_pictures = 0;
        motion_picture picture;
        motion_result result;
        while ((result = motion_next(reader, &picture)) == MOTION_PICTURE) {
            append(answer, picture);
            num_pictures++;
        }
        alarm(0);
        if (result == MOTION_ERROR) return fail(motion_error(reader));
        if (!write_answer(num_pictures, answer.data(), answer.size())) return 1;
        if (!size) return 0;
    }
    return 0;
}

}  // namespace

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--version")) {
        printf("%s libde265 %s\n", version, motion_library_version());
        return 0;
    }
    const rlimit memory = {max_memory, max_memory}, no_core = {0, 0};
    setrlimit(RLIMIT_AS, &memory);
    setrlimit(RLIMIT_CORE, &no_core);
    motion_reader *reader = motion_open();
    if (!reader) return fail("libde265 cannot be started");
    const int status = serve(reader);
    motion_close(reader);
    return status;
}
