/* SPDX-License-Identifier: MIT */
/*
 * flashvm-jail, as built, around a small program in place of QEMU. FLASHVM_LIBEXEC_DIR says where
 * the jail is. Everything asserts by itself and gives up after 20 s.
 */
#pragma once

#include "assertions.h"

#include "engine/vm_process.h"

/* A program in a jail. */
struct inmate {
    struct fvm_vm vm;
    int alive_fd; /* at its end when the program has ended: it holds the other end as number 6 */
};

void inmate_start(struct inmate *inmate, struct fvm_vm_program program);
/* @guarded: a directory for fvm_vm_guard(); NULL: none. */
void inmate_start_shell(struct inmate *inmate, const char *command, const char *guarded);

/* Wait until there is something to read, or an end. Return: false after 20 s. */
bool happens(int fd);

/* Read a descriptor of the VM to its end. To be freed. */
char *inmate_read_all(int fd);

/* The program has ended, or does so now by itself. */
void inmate_assert_ended(struct inmate *inmate);

/* End the VM; the program must have ended then. */
void inmate_finish(struct inmate *inmate);
