/* SPDX-License-Identifier: MIT */
#include "rehearsal.h"

#include <fcntl.h>
#include <time.h>

#include "base/cleanup.h"
#include "intake.h"
#include "log.h"
#include "run.h"
#include "standby.h"

enum { REHEARSAL_UID = 2000000000 };

/* Some of all that small snippets do. */
static const char code[] = "import sys\n"
                           "def double(n, *rest, by=2):\n"
                           "    return [i * by for i in range(n) if i % 3] + list(rest)\n"
                           "class Point:\n"
                           "    def __init__(self, x):\n"
                           "        self.x = x\n"
                           "try:\n"
                           "    text = ', '.join(f'{i:>3}' for i in double(9, 4))\n"
                           "    print({'a': text.split(), 'b': Point(1.5).x}['b'], len(text))\n"
                           "except (ValueError, KeyError) as error:\n"
                           "    print(error, file=sys.stderr)\n";

void rehearsal_init(struct seat *seat, const struct account *snippets)
{
    *seat = (struct seat){
        .group = LIMITS_REHEARSAL,
        .account = *snippets,
        .zygote = INTERPRETER_NONE,
    };
    seat->account.uid = seat->account.gid = REHEARSAL_UID;
}

static void say(struct channel *channel, enum fvm_frame_type type, const void *data, size_t size)
{
    uint8_t header[FVM_FRAME_HEADER_SIZE];

    fvm_frame_encode_header(type, size, header);
    if (fvm_frame_decoder_feed(&channel->decoder, header, sizeof header) < 0 ||
        fvm_frame_decoder_feed(&channel->decoder, data, size) < 0)
        agent_die("out of memory");
}

/* What a host would send. */
static void say_run(struct channel *channel)
{
    char json[100], file[FVM_FILE_PAYLOAD_MAX];
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(json, sizeof json,
             "{\"timeout_ms\":60000,\"max_processes\":4096,\"clock_ns\":%lld%09ld}",
             (long long)now.tv_sec, now.tv_nsec);
    say(channel, FVM_FRAME_REQUEST, json, strlen(json));
    say(channel, FVM_FRAME_FILE, file,
        fvm_frame_format_file(sizeof code - 1, false, "main.py", file));
    say(channel, FVM_FRAME_FILE_DATA, code, sizeof code - 1);
    say(channel, FVM_FRAME_FILE_END, NULL, 0);
    say(channel, FVM_FRAME_RUN, NULL, 0);
}

void rehearse(struct service *service, bool spare)
{
    struct channel nobody = {.in_fd = -1, .out_fd = open("/dev/null", O_WRONLY | O_CLOEXEC)};
    struct request request;
    struct fvm_frame frame;
    uint64_t file_bytes;

    if (nobody.out_fd < 0)
        agent_die_errno("cannot open /dev/null");
    if (service->rehearsal.zygote.pid == 0)
        standby(service, &service->rehearsal);
    say_run(&nobody);
    channel_receive(&nobody, &frame);
    intake(service, &service->rehearsal, &nobody, &frame, &request, &file_bytes);
    run_snippet(service, &service->rehearsal, &request, file_bytes, &nobody, false);
    request_finish(&request);
    work_clear(&service->work);
    fvm_frame_decoder_finish(&nobody.decoder);
    fvm_buffer_finish(&nobody.outgoing);
    close(nobody.out_fd);
    if (spare)
        standby(service, &service->rehearsal);
}
