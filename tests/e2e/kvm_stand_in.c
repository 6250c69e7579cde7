/* SPDX-License-Identifier: MIT */
/*
 * A KVM in the place of the kernel's, preloaded into flashvm-probe-kvm: any file is its device, and
 * it is bad in the way that KVM_STAND_IN names.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STATE_SIZE = 4096 };

static int make_cpu(void)
{
    int state = memfd_create("kvm", MFD_CLOEXEC);

    return state >= 0 && ftruncate(state, STATE_SIZE) == 0 ? state : -1;
}

int ioctl(int fd, unsigned long request, ...)
{
    const char *way = getenv("KVM_STAND_IN");

    if (way == NULL)
        way = "";
    switch (request) {
    case KVM_GET_API_VERSION:
        return strcmp(way, "old") == 0 ? 11 : KVM_API_VERSION;
    case KVM_CREATE_VM:
        if (strcmp(way, "busy") != 0)
            return dup(fd);
        errno = EBUSY;
        return -1;
    case KVM_CREATE_VCPU:
        return make_cpu();
    case KVM_GET_VCPU_MMAP_SIZE:
        return STATE_SIZE;
    case KVM_RUN:
        for (;;) /* a guest that comes to no end */
            pause();
    default:
        return 0;
    }
}
