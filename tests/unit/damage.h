/* SPDX-License-Identifier: MIT */
/* What may happen to a file of the cache. Each asserts by itself that it has happened. */
#pragma once

void shorten(const char *path);
void lengthen(const char *path);
void wipe_start(const char *path);
void make_writable(const char *path);
void give_away(const char *path);
void remove_file(const char *path);
void replace_by_symlink(const char *path);
void replace_text(const char *path, const char *text);
void replace_by_text(const char *path);
void replace_by_fifo(const char *path);
void change_one_byte(const char *path);
void wipe_a_page(const char *path);
void replace_by_empty_object(const char *path);

/* No damage, but another file. */
void copy_file(const char *path);
