/* SPDX-License-Identifier: MIT */
#include "intake.h"

#include <errno.h>

/* Return: NULL, or what is wrong (static text; errno is set or 0). */
static const char *take(const struct fvm_frame *frame, struct receiver *receiver,
                        const struct account *account, struct fvm_buffer *json)
{
    errno = 0;
    switch (frame->type) {
    case FVM_FRAME_REQUEST:
        return fvm_buffer_append(json, frame->payload, frame->size) < 0 ? "out of memory" : NULL;
    case FVM_FRAME_FILE:
    case FVM_FRAME_FILE_DATA:
    case FVM_FRAME_FILE_END:
        return receiver_take(receiver, frame, account);
    default:
        return "the host sent a frame out of turn";
    }
}

void intake(struct service *service, const struct seat *seat, struct channel *channel,
            struct fvm_frame *frame, struct request *ret_request, uint64_t *ret_file_bytes)
{
    struct receiver receiver = {.work = &service->work, .file_fd = -1};
    cleanup_buffer struct fvm_buffer json = {0};
    const char *wrong;

    for (; frame->type != FVM_FRAME_RUN; channel_receive(channel, frame)) {
        wrong = take(frame, &receiver, &seat->account, &json);
        if (wrong)
            service_give_up(service, errno == ENOSPC ? FVM_FRAME_REFUSED : FVM_FRAME_FAILED, wrong);
    }
    errno = 0;
    wrong = request_parse(json.data, json.size, ret_request);
    if (wrong)
        service_give_up(service, FVM_FRAME_FAILED, wrong);
    *ret_file_bytes = receiver.bytes;
}
